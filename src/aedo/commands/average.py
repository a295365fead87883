"""`aedo average`: one set of weights from several checkpoints."""

from __future__ import annotations

from pathlib import Path

import typer

from aedo.errors import UserError


def register(app: typer.Typer) -> None:
    @app.command()
    def average(
        run: Path = typer.Argument(help="Run folder."),
        last: int | None = typer.Option(None, min=1, help="Average the last so many checkpoints."),
        best: int | None = typer.Option(None, min=1, help="Average the best so many checkpoints."),
        by: str = typer.Option("dev_ce", help="What makes a checkpoint the best: dev_ce, dev_ler, dev_ctc_4, ..."),
        fraction: float | None = typer.Option(
            None, min=0.0, max=1.0, help="Average the checkpoints kept of the last part of the training."
        ),
    ) -> None:
        """Average checkpoints of a run; the average is a checkpoint of its own."""
        from aedo.run import RunFolder
        from aedo.train.average import average_best, average_fraction, average_last

        folder = RunFolder.open(run)
        if sum(choice is not None for choice in (last, best, fraction)) != 1:
            raise UserError("aedo average: give exactly one of --last, --best, --fraction")
        if by != "dev_ce" and best is None:
            raise UserError("aedo average: --by goes with --best only")
        if last is not None:
            made = average_last(folder, last)
        elif best is not None:
            made = average_best(folder, best, by)
        else:
            assert fraction is not None
            made = average_fraction(folder, fraction)
        typer.echo(f"{made.folder}: average of {', '.join(made.averaged)}")
