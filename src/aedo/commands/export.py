"""`aedo export`: a checkpoint of a run for another system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Write a checkpoint of a run for another system.")
    app.add_typer(group, name="export")

    @group.callback()
    def group_help() -> None:
        """Write a checkpoint of a run for another system."""

    @group.command("returnn")
    def returnn(
        run: Annotated[Path, typer.Argument(help="Run folder.")],
        out: Annotated[Path, typer.Option("--out", "-o", help="The .pt file to write.", show_default=False)],
        checkpoint: Annotated[
            str, typer.Option(help="Label of the checkpoint (epoch-0020, average-last5, ...), last or best.")
        ] = "last",
    ) -> None:
        """Write a file that RETURNN's PyTorch engine loads, with parameters under its names."""
        from aedo.interop.folder import export_run
        from aedo.run import RunFolder

        folder = RunFolder.open(run)
        position = export_run(folder, checkpoint, out)
        typer.echo(f"{out}: epoch {position['epoch']}, step {position['step']}")
        consistent = folder.experiment().encoder.padding == "consistent"
        version = "24 or higher" if consistent else "22 or lower"
        typer.echo(f"RETURNN computes the same from it with behavior_version {version}.")
