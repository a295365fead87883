"""aedo diff: what two experiments differ in."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def diff(
        left: Annotated[str, typer.Argument(help="Name of an experiment, or a run folder.", show_default=False)],
        right: Annotated[str, typer.Argument(help="Another one.", show_default=False)],
    ) -> None:
        """Show every field in which two experiments differ, and which tag or base set it."""
        from aedo.recipes.names import diff as differences
        from aedo.recipes.trees import show

        found = differences(left, right)
        if not found:
            typer.echo(f"{left} and {right} are the same experiment")
        for one in found:
            typer.echo(one.path)
            typer.echo(f"  - {show(one.left)}  [{one.left_setter}]")
            typer.echo(f"  + {show(one.right)}  [{one.right_setter}]")
