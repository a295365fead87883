"""`aedo import`: a run folder from a checkpoint of another system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aedo.interop.checkpoint_file import ForeignCheckpoint
    from aedo.interop.infer import Unseen

Out = Annotated[Path, typer.Option("--out", "-o", help="The run folder to write; must not exist.", show_default=False)]
Vocabulary = Annotated[
    Path | None,
    typer.Option(
        "--vocab",
        help="Labels of the model: RETURNN's vocabulary file (a Python dict or one name a line), or a SentencePiece "
        ".model. Without it, transcripts are the numbers of the labels.",
        show_default=False,
    ),
]
Codes = Annotated[
    Path | None,
    typer.Option(help="BPE codes (subword-nmt), needed to train or to score labels on new texts.", show_default=False),
]
Version = Annotated[
    int, typer.Option(min=0, help="RETURNN's behavior_version; below 24 results depend on the rest of the batch.")
]
Activation = Annotated[str, typer.Option(help="Of the encoder's feed-forward networks: relu2 or swish.")]
Zoned = Annotated[bool, typer.Option("--zoned-output", help="The model was trained with use_zoneout_output.")]
Chunked = Annotated[
    str,
    typer.Option(
        help="KEPT_AHEAD of a chunked (streaming) model, such as 20_15: encoder frames of a chunk that count, and that "
        "it looks ahead; with another history than two chunks KEPT_AHEAD_HISTORY.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="FIELD=VALUE of the experiment for what else the file does not show, such as decoder.zone_cell=0.1; "
        "repeatable.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Make a run folder from a checkpoint of another system.")
    app.add_typer(group, name="import")

    @group.command("returnn")
    def returnn(
        checkpoint: Annotated[Path, typer.Argument(help="epoch.NNN.pt of RETURNN's PyTorch engine.")],
        out: Out,
        vocab: Vocabulary = None,
        bpe_codes: Codes = None,
        behavior_version: Version = 16,
        activation: Activation = "relu2",
        zoned_output: Zoned = False,
        chunked: Chunked = "",
        settings: Settings = None,
    ) -> None:
        """Import a PyTorch checkpoint of RETURNN, a recogniser or a Transformer language model; every dimension is read
        off its shapes.

        Nothing in the file is run: only tensors are loaded.
        """
        from aedo.interop.checkpoint_file import read_checkpoint
        from aedo.interop.infer import Unseen, chunked_of
        from aedo.interop.returnn_lm import is_language_model

        unseen = Unseen(behavior_version, activation, zoned_output, settings or (), chunked_of(chunked))
        source = read_checkpoint(checkpoint)
        if is_language_model(source.state):
            _write_language_model(source, out, unseen, vocab, bpe_codes)
        else:
            _write(source, out, unseen, vocab, bpe_codes)

    @group.command("returnn-tf")
    def returnn_tf(
        checkpoint: Annotated[Path, typer.Argument(help="The .index file of a TensorFlow checkpoint of RETURNN.")],
        out: Out,
        vocab: Vocabulary = None,
        bpe_codes: Codes = None,
        settings: Settings = None,
    ) -> None:
        """Import a TensorFlow checkpoint of RETURNN (needs `pip install 'aedo[tf]'`).

        Its CTC layer, if there is one, becomes the CTC head of the top encoder layer.
        """
        from aedo.interop.infer import Unseen
        from aedo.interop.returnn_tf import read_tf_checkpoint

        _write(read_tf_checkpoint(checkpoint), out, Unseen(settings=settings or ()), vocab, bpe_codes)


def _write(source: ForeignCheckpoint, out: Path, unseen: Unseen, vocab: Path | None, codes: Path | None) -> None:
    from aedo.interop.folder import assumptions, import_run

    run = import_run(source, out, unseen, vocab, codes)
    experiment = run.experiment()
    decoder = "no decoder" if experiment.decoder is None else f"{experiment.decoder.kind} decoder"
    heads = ", ".join(map(str, experiment.ctc.layers)) or "none"
    typer.echo(
        f"{run.path}: {run.info['parameters']:,} parameters, {experiment.encoder.layers} layers, {decoder}, "
        f"CTC heads on layers: {heads}, {run.vocabulary} labels"
    )
    typer.echo("Not in the file, taken as (--set FIELD=VALUE changes it):")
    for line in assumptions(experiment):
        typer.echo(f"  {line}")
    if vocab is None:
        typer.echo("No --vocab given: transcripts will be numbers of labels.")
    typer.echo(f"next: aedo transcribe --run {run.path} AUDIO, or aedo recog {run.path} --data DATA")


def _write_language_model(
    source: ForeignCheckpoint, out: Path, unseen: Unseen, vocab: Path | None, codes: Path | None
) -> None:
    from aedo.errors import UserError
    from aedo.interop.infer import Unseen
    from aedo.interop.returnn_lm import import_lm

    if unseen != Unseen(settings=unseen.settings):
        raise UserError(
            f"{source.path}: a language model: --behavior-version, --activation, --zoned-output and --chunked are for "
            "recognisers"
        )
    description = import_lm(source, out, unseen.settings, vocab, codes)
    sizes = description.transformer
    assert sizes is not None
    typer.echo(f"{out}: a language model of {sizes.layers} layers, {sizes.dim} wide, {description.vocabulary} labels")
    typer.echo(f"Not in the file, taken as (--set heads=N changes it): heads = {sizes.heads}")
    typer.echo("It goes with recognisers of exactly this vocabulary: same --vocab, same --bpe-codes.")
