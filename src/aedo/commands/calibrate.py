"""aedo calibrate: make the confidence of words mean what it says."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aedo.commands.options import Beam, Checkpoint, Data, Device, RunArgument, Search, prepared_set


def register(app: typer.Typer) -> None:
    @app.command()
    def calibrate(
        run: RunArgument,
        set: Annotated[str, typer.Option("--set", help="Split to fit to; not one that was trained on.")] = "dev",
        data: Data = None,
        checkpoint: Checkpoint = "",
        beam: Beam = None,
        search: Search = "",
        device: Device = "auto",
    ) -> None:
        """Fit the confidence of words to what is right and wrong on a set, and write it into the run folder.

        `aedo transcribe` then uses it with the same checkpoint and search. The numbers printed are of words left out of
        the fit in turn, with all words of their speaker; `aedo report` draws them.
        """
        from rich.console import Console
        from rich.progress import Progress

        from aedo.run import RunFolder
        from aedo.score.calibrate import calibrate as fit
        from aedo.search.load import load_transcriber

        cuts = prepared_set(RunFolder.open(run), data, set)
        transcriber = load_transcriber(run, checkpoint=checkpoint, device=device, beam=beam, search=search)
        origin = {**transcriber.origin, "data": cuts.data, "set": set}
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(set, total=len(cuts.cuts))
            fitted = fit(transcriber, cuts, origin, lambda utterances: progress.advance(task, utterances))
        path = fitted.calibration.save(run, fitted.findings)
        typer.echo(_summary(fitted.findings))
        typer.echo(f"written to {path}")


def _summary(findings: dict[str, Any]) -> str:
    from aedo.score.tables import table

    before, after = findings["before"], findings["after"]
    rows = [(name, *(f"{found[key]:.4f}" for key in ("ece", "brier", "nce"))) for name, found in (
        ("before", before), ("after", after)
    )]  # fmt: skip
    heads = ("", "calibration error", "Brier score", "normalised cross entropy")
    curve = [(f"{row['confidence']:.3f}", f"{row['right']:.3f}", str(row["words"])) for row in after["curve"]]
    return "\n".join(
        [
            f"{findings['words']} words, {findings['wrong']} of them wrong; "
            f"each judged by a fit without its {findings['left_out'].rstrip('s')}",
            table(heads, rows),
            "",
            table(("confidence", "right", "words"), curve),
        ]
    )
