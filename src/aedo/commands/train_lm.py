"""aedo train-lm: a language model over the labels of a recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
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
    ) -> None:
        """Train a language model on texts, for the searches of a recogniser: an n-gram model."""
        from aedo.errors import UserError
        from aedo.lm.train_ngram import train_ngram

        if ngram is None:
            raise UserError("give --ngram N")
        recogniser, found, about = _prepared(texts or [], data, run, tokenizer, dev, normalize, leave_out)
        estimate, measured = train_ngram(recogniser, found, ngram, out, about)
        if estimate.fallen_back:
            orders = ", ".join(map(str, estimate.fallen_back))
            typer.echo(f"too little text to tell the discounts of n-grams of order {orders}: usual ones are taken")
        typer.echo(", ".join(f"{len(grams.words):,} {n}-grams" for n, grams in enumerate(estimate.orders, 1)))
        typer.echo(f"held-out text: {measured.line()}")
        typer.echo(f"written to {out}")


def _prepared(
    files: list[Path],
    data: Path | None,
    run: Path | None,
    tokenizer: Path | None,
    dev: Path | None,
    normalize: str | None,
    leave_out: bool,
) -> tuple[Recogniser, Texts, dict[str, Any]]:
    """The recogniser, the texts cut into its labels, and what lm.json says of both."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from aedo.errors import UserError
    from aedo.lm.texts import Recogniser, gather

    if (run is None) == (tokenizer is None):
        raise UserError("give --run RUN (the recogniser), or --tokenizer FOLDER")
    if not files and data is None:
        raise UserError("no text: give text files, or --data DATA for the transcripts of a prepared folder")
    recogniser = Recogniser.of_tokenizer(tokenizer) if tokenizer else Recogniser.of_run(run or Path())
    steps = recogniser.normalize if normalize is None else normalize
    columns = (SpinnerColumn(), TextColumn("reading texts: {task.completed:,.0f} lines"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        found = gather(
            recogniser,
            files,
            data,
            dev,
            normalize=steps,
            leave_out=leave_out,
            progress=lambda lines: progress.advance(task, lines),
        )
    if normalize is None and not recogniser.known and files:
        typer.echo("how the recogniser's transcripts were normalised is not known: texts are taken as they are")
    count, labels = len(found.train), int(found.train.lengths.sum())
    typer.echo(f"{count:,} sentences, {int(found.train.words.sum()):,} words, {labels:,} labels; normalised: {steps}")
    return recogniser, found, {"texts": found.about, "normalize": steps, "sentences": count, "labels": labels}
