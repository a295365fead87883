"""aedo tune: the weights of the joint search, found on dev."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def tune(
        run: Annotated[Path, typer.Argument(help="Run folder that aedo train wrote.", show_default=False)],
        set: Annotated[str, typer.Option("--set", help="Split to tune on; not one that is reported.")] = "dev",
        data: Annotated[
            Path | None, typer.Option(help="Prepared folder. Default: the one trained on.", show_default=False)
        ] = None,
        checkpoint: Annotated[
            str, typer.Option(help="A label, best or last. Default: the average at the training's end, else the best.")
        ] = "",
        beam: Annotated[
            int | None, typer.Option(min=1, help="Hypotheses kept. Default: the experiment's.", show_default=False)
        ] = None,
        dry: Annotated[bool, typer.Option("--dry", help="Only print what was found.")] = False,
        device: Annotated[str, typer.Option(help="auto, cpu or cuda; cuda:1 and the like.")] = "auto",
    ) -> None:
        """Find the weight of CTC and the reward for length that make the fewest errors, and write them into the run.

        All searches of the run use them from then on, joint ones; remove RUN/search.json to go back. They are written
        only if the search is at least as good with them as without.
        """
        from rich.console import Console
        from rich.progress import Progress

        from aedo.data.manifest import Manifest
        from aedo.errors import UserError
        from aedo.run import RunFolder
        from aedo.score import tune as tuning
        from aedo.score.decode import SetOfCuts
        from aedo.search.choose import preferred, recognizer_of
        from aedo.search.device import device_of

        folder = RunFolder.open(run)
        place = data or (Path(folder.info["data"]) if folder.info.get("data") else None)
        if place is None or not place.is_dir():
            raise UserError(f"{place or run / 'run.json'}: no prepared folder; give --data DIR")
        cuts = SetOfCuts.read(Manifest.open(place, set), set, place)
        taken = folder.checkpoint(checkpoint) if checkpoint else preferred(folder)
        recognizer = recognizer_of(folder, taken, device_of(device), beam=beam)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(set, total=len(cuts.cuts))
            found = tuning.tune(
                recognizer, folder.experiment().audio, cuts, lambda utterances: progress.advance(task, utterances)
            )
        weights = found.weights
        typer.echo(
            f"{taken.label}, {set}: ctc_scale {weights.ctc_scale}, length_reward {weights.length_reward}\n"
            f"WER {found.after:.2f} % (as set before: {found.before:.2f} %; on the lists: {found.lists:.2f} %, their "
            f"best hypotheses: {found.oracle:.2f} %)"
        )
        if dry:
            return
        if found.after > found.before:
            typer.echo("nothing written: the search is better as it was")
            return
        origin = {"checkpoint": taken.label, "data": cuts.data, "set": set}
        typer.echo(f"written to {tuning.save(run, found, origin)}")
