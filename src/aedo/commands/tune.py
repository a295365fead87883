"""aedo tune: the weights of the joint search, found on dev."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aedo.commands.options import Beam, Checkpoint, Data, Device, RunArgument, prepared_set
from aedo.commands.searching import Lm


def register(app: typer.Typer) -> None:
    @app.command()
    def tune(
        run: RunArgument,
        set: Annotated[str, typer.Option("--set", help="Split to tune on; not one that is reported.")] = "dev",
        data: Data = None,
        checkpoint: Checkpoint = "",
        beam: Beam = None,
        lm: Lm = None,
        prior: Annotated[
            bool,
            typer.Option("--prior/--no-prior", help="Try to take off the labels' prior (read from training data)."),
        ] = True,
        internal_lm: Annotated[
            bool,
            typer.Option("--internal-lm", help="Try to take off the decoder's own language model: twice the time."),
        ] = False,
        dry: Annotated[bool, typer.Option("--dry", help="Only print what was found.")] = False,
        device: Device = "auto",
    ) -> None:
        """Find the settings of the search that make the fewest errors, and write them into the run.

        Tried are the weights of CTC, of the language model if there is one, of the decoder's internal one and of the
        labels' prior, a reward for length, and decoder and CTC alone. All searches of the run use what was found from
        then on; remove RUN/search.json to go back. It is written only if it is at least as good as before.
        """
        from rich.console import Console
        from rich.progress import Progress

        from aedo.run import RunFolder
        from aedo.score import tune as tuning
        from aedo.search.choose import preferred, recognizer_of
        from aedo.search.device import device_of

        folder = RunFolder.open(run)
        cuts = prepared_set(folder, data, set)
        taken = folder.checkpoint(checkpoint) if checkpoint else preferred(folder)
        recognizer = recognizer_of(folder, taken, device_of(device), beam=beam)
        recognizer.fusion = tuning.all_there_is(recognizer, folder, taken, lm, prior=prior)
        recognizer.config = tuning.naming(recognizer.config, lm)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(set, total=tuning.PASSES * len(cuts.cuts))
            found = tuning.tune(
                recognizer,
                folder.experiment().audio,
                cuts,
                lambda n: progress.advance(task, n),
                internal_lm=internal_lm,
            )
        typer.echo(f"{taken.label}, {set}: " + _told(found.settings(recognizer.config)))
        others = ", ".join(f"{name} {rate:.2f} %" for name, rate in found.alone.items())
        typer.echo(
            f"WER {found.after:.2f} % on the set it was chosen on (as set before: {found.before:.2f} %; {others}; "
            f"on the lists: {found.lists:.2f} %, their best hypotheses: {found.oracle:.2f} %)"
        )
        if found.elsewhere is not None:
            typer.echo(f"with weights chosen on other speakers, on the lists: {found.elsewhere:.2f} %")
        if dry:
            return
        if found.after > found.before:
            typer.echo("nothing written: the search is better as it was")
            return
        origin = {"checkpoint": taken.label, "data": cuts.data, "set": set}
        typer.echo(f"written to {tuning.save(run, found, recognizer.config, origin)}")


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value != 0.0)
