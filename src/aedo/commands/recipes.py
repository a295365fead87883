"""aedo recipes: the bases and tags there are, and what one of them means."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def recipes(
        name: Annotated[
            str | None,
            typer.Argument(help="A tag (posdrop01), a base (24gb-v6) or a whole name to explain.", show_default=False),
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="Print the whole experiment of a name as JSON.")] = False,
    ) -> None:
        """List bases and tags, or explain one."""
        from aedo.errors import UserError
        from aedo.recipes.catalogue import explain, listing
        from aedo.recipes.names import resolve

        if json and name is None:
            raise UserError("--json needs the name of an experiment, for example aedo recipes 24gb-v6 --json")
        if name is None:
            typer.echo(listing())
        else:
            typer.echo(resolve(name).model_dump_json(indent=2) if json else explain(name))
