"""aedo train-lm: a language model over the labels of a recogniser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import torch

    from aedo.lm.texts import Recogniser, Texts


def register(app: typer.Typer) -> None:
    @app.command("train-lm")
    def train_lm(
        out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the language model.", show_default=False)],
        texts: Annotated[
            list[Path] | None,
            typer.Argument(help="Text files (.txt, .txt.gz), one sentence a line.", show_default=False),
        ] = None,
        data: Annotated[
            Path | None,
            typer.Option(help="Train (also) on the training transcripts of this prepared folder.", show_default=False),
        ] = None,
        run: Annotated[
            Path | None, typer.Option(help="The recogniser: a run folder, for its tokenizer.", show_default=False)
        ] = None,
        tokenizer: Annotated[
            Path | None, typer.Option(help="Instead of --run: a folder with tokenizer.json.", show_default=False)
        ] = None,
        ngram: Annotated[
            int | None, typer.Option(min=1, max=9, help="An n-gram model of this order.", show_default=False)
        ] = None,
        dev: Annotated[
            Path | None,
            typer.Option(
                help="Text to measure on. Default: the dev split of --data, else one sentence of twenty of the text.",
                show_default=False,
            ),
        ] = None,
        normalize: Annotated[
            str | None,
            typer.Option(
                help="Steps for the texts (see aedo prepare --normalize). Default: those that the run's data went "
                "through, as its card.json says.",
                show_default=False,
            ),
        ] = None,
        leave_out: Annotated[
            bool, typer.Option("--leave-out", help="Leave out lines that the tokenizer cannot spell.")
        ] = False,
        only_cut: Annotated[
            bool,
            typer.Option(
                "--only-cut", help="Write the text cut into labels to the file -o, for KenLM's lmplz; no model."
            ),
        ] = False,
        layers: Annotated[int | None, typer.Option(min=1, help="Transformer: layers (6).", show_default=False)] = None,
        dim: Annotated[int | None, typer.Option(min=2, help="Transformer: width (256).", show_default=False)] = None,
        heads: Annotated[int | None, typer.Option(min=1, help="Transformer: heads (4).", show_default=False)] = None,
        dropout: Annotated[
            float | None, typer.Option(min=0, max=0.9, help="Transformer: dropout (0.1).", show_default=False)
        ] = None,
        epochs: Annotated[
            int | None, typer.Option(min=1, help="Transformer: times through the text (10).", show_default=False)
        ] = None,
        batch: Annotated[
            int | None, typer.Option(min=1, help="Transformer: labels of a batch (4096).", show_default=False)
        ] = None,
        lr: Annotated[
            float | None, typer.Option(help="Transformer: highest learning rate (0.001).", show_default=False)
        ] = None,
        seed: Annotated[
            int | None, typer.Option(help="Transformer: of all that is random (1).", show_default=False)
        ] = None,
        device: Annotated[str, typer.Option(help="Transformer: auto, cpu or cuda; cuda:1 and the like.")] = "auto",
        save_minutes: Annotated[
            float, typer.Option(min=0, help="Transformer: minutes between two checkpoints inside an epoch; 0: none.")
        ] = 10.0,
    ) -> None:
        """Train a language model over the labels of a recogniser, for its searches (--lm): with --ngram N an n-gram
        model, else a Transformer.

        A Transformer's training that was stopped or killed goes on with the same command. Ctrl-C and SIGTERM save first
        and end with exit status 75.
        """
        from aedo.commands.train import choose_device
        from aedo.errors import UserError

        given = {
            "model.layers": layers,
            "model.dim": dim,
            "model.heads": heads,
            "model.dropout.rate": dropout,
            "epochs": epochs,
            "batch": batch,
            "learning_rate": lr,
            "seed": seed,
        }
        given = {name: value for name, value in given.items() if value is not None}
        files = texts or []
        _check(ngram, given, files, data, run, tokenizer)
        if only_cut and (ngram is not None or given or dev is not None):
            raise UserError("--only-cut trains no model: leave out --ngram, --dev and the options of a Transformer")
        recogniser, steps = _recogniser(files, run, tokenizer, normalize)
        if only_cut:
            _cut(recogniser, files, data, steps, leave_out, out)
            return
        found, about = _prepared(recogniser, files, data, dev, steps, leave_out)
        if ngram is not None:
            _train_ngram(recogniser, found, ngram, out, about)
        else:
            _train_transformer(recogniser, found, given, out, about, choose_device(device), save_minutes)


def _check(
    ngram: int | None,
    given: dict[str, Any],
    texts: list[Path],
    data: Path | None,
    run: Path | None,
    tokenizer: Path | None,
) -> None:
    from aedo.errors import UserError

    if ngram is not None and given:
        raise UserError(
            "--ngram makes an n-gram model, to which the Transformer's options mean nothing: leave them out"
        )
    if (run is None) == (tokenizer is None):
        raise UserError("give --run RUN (the recogniser), or --tokenizer FOLDER")
    if not texts and data is None:
        raise UserError("no text: give text files, or --data DATA for the transcripts of a prepared folder")


def _train_ngram(recogniser: Recogniser, texts: Texts, order: int, out: Path, about: dict[str, Any]) -> None:
    from aedo.lm.train_ngram import train_ngram

    estimate, measured = train_ngram(recogniser, texts, order, out, about)
    if estimate.fallen_back:
        orders = ", ".join(map(str, estimate.fallen_back))
        typer.echo(f"too little text to tell the discounts of n-grams of order {orders}: usual ones are taken")
    typer.echo(", ".join(f"{len(grams.words):,} {n}-grams" for n, grams in enumerate(estimate.orders, 1)))
    typer.echo(f"held-out text: {measured.line()}\nwritten to {out}")


def _train_transformer(
    recogniser: Recogniser,
    texts: Texts,
    given: dict[str, Any],
    out: Path,
    about: dict[str, Any],
    device: torch.device,
    save_minutes: float,
) -> None:
    from pydantic import ValidationError
    from rich.console import Console
    from rich.progress import Progress

    from aedo.errors import UserError
    from aedo.lm.train_transformer import train_transformer
    from aedo.lm.trainer import LmSettings, LmTrainConfig
    from aedo.train.signals import EXIT_REQUEUE, StopRequest

    try:
        config = LmTrainConfig.of(given)
    except ValidationError as error:
        raise UserError(f"these options do not go together: {error.errors()[0]['msg']}") from None
    with Progress(console=Console(stderr=True), transient=True) as progress, StopRequest() as stopped:
        task = progress.add_task("", total=None)
        settings = LmSettings(
            device,
            save_minutes,
            say=lambda line: progress.console.print(line, highlight=False, markup=False, soft_wrap=True),
            show=lambda done, total, text: progress.update(task, completed=done, total=total, description=text),
        )
        measured = train_transformer(recogniser, texts, config, out, about, settings, stopped)
    if measured is None:
        typer.echo(f"stopped on request and saved; give the same command again to go on ({out})")
        raise typer.Exit(EXIT_REQUEUE)
    typer.echo(f"held-out text: {measured.line()}\nwritten to {out}")


def _recogniser(
    files: list[Path], run: Path | None, tokenizer: Path | None, normalize: str | None
) -> tuple[Recogniser, str]:
    """With the steps that texts go through."""
    from aedo.lm.texts import Recogniser

    recogniser = Recogniser.of_tokenizer(tokenizer) if tokenizer else Recogniser.of_run(run or Path())
    if normalize is None and not recogniser.known and files:
        typer.echo("how the recogniser's transcripts were normalised is not known: texts are taken as they are")
    return recogniser, recogniser.normalize if normalize is None else normalize


def _cut(recogniser: Recogniser, files: list[Path], data: Path | None, steps: str, leave_out: bool, out: Path) -> None:
    from aedo.data.text import normalizer
    from aedo.lm.sentences import write_cut
    from aedo.lm.symbols import Symbols
    from aedo.lm.texts import training_lines

    names, normalize = Symbols.of(recogniser.tokenizer).names, normalizer(steps)
    with _reading() as advance:
        lines = training_lines(files, data)
        count, left_out = write_cut(
            lines, recogniser.tokenizer, names, normalize, out, leave_out=leave_out, progress=advance
        )
    if left_out:
        typer.echo(left_out)
    typer.echo(f"{out}: {count:,} sentences; normalised: {steps}")
    typer.echo(f"next: lmplz -o 4 --vocab_pad {len(names)} --discount_fallback < {out} > lm.arpa")


def _prepared(
    recogniser: Recogniser, files: list[Path], data: Path | None, dev: Path | None, steps: str, leave_out: bool
) -> tuple[Texts, dict[str, Any]]:
    """The texts cut into labels, and what lm.json says of them."""
    from aedo.lm.texts import gather

    with _reading() as advance:
        found = gather(recogniser, files, data, dev, normalize=steps, leave_out=leave_out, progress=advance)
    for line in filter(None, dict.fromkeys((found.train.left_out, found.held_out.left_out))):
        typer.echo(line)
    count, labels = len(found.train), int(found.train.lengths.sum())
    typer.echo(f"{count:,} sentences, {int(found.train.words.sum()):,} words, {labels:,} labels; normalised: {steps}")
    return found, {"texts": found.about, "normalize": steps, "sentences": count, "labels": labels}


@contextmanager
def _reading() -> Iterator[Callable[[int], None]]:
    """A bar for texts of unknown length."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("reading texts: {task.completed:,.0f} lines"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda lines: progress.advance(task, lines)
