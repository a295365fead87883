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
        parameters: Annotated[
            bool, typer.Option("--parameters", help="List the parameters of a name's model and their weight decay.")
        ] = False,
    ) -> None:
        """List bases and tags, or explain one."""
        from aedo.errors import UserError
        from aedo.recipes.catalogue import explain, listing
        from aedo.recipes.names import resolve
        from aedo.recipes.parameters import parameter_table

        if json and parameters:
            raise UserError("--json and --parameters are two different outputs; give one of them")
        option = "--json" if json else "--parameters" if parameters else None
        if option and name is None:
            raise UserError(f"{option} needs the name of an experiment, for example aedo recipes 24gb-v6 {option}")
        if name is None:
            typer.echo(listing())
        elif json:
            typer.echo(resolve(name).model_dump_json(indent=2))
        elif parameters:
            typer.echo(parameter_table(name, resolve(name)))
        else:
            typer.echo(explain(name))
