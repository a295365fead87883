"""The command line: verbs only.  Each verb lives in aedo.commands."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from aedo.errors import UserError

VERBS = ("prepare", "train", "recog", "transcribe", "score", "average", "recipes", "diff", "report", "demo")

app = typer.Typer(
    help="Attention encoder-decoder + CTC speech recognition: a whole experiment is its name.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Entry point: a UserError is printed without traceback and ends with status 2."""
    for verb in VERBS:
        import_module(f"aedo.commands.{verb}").register(app)
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
