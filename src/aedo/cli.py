"""The command line: verbs only.  Each verb lives in aedo.commands."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from aedo.errors import UserError

VERBS = (
    "prepare",
    "pack",
    "train",
    "train-lm",
    "sweep",
    "recog",
    "tune",
    "calibrate",
    "transcribe",
    "align",
    "score",
    "average",
    "import",
    "export",
    "verify",
    "recipes",
    "diff",
    "report",
    "bench",
    "demo",
)


def build() -> typer.Typer:
    """The application with all verbs."""
    app = typer.Typer(
        help="Attention encoder-decoder + CTC speech recognition: a whole experiment is its name.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for verb in VERBS:
        module = "import_" if verb == "import" else verb.replace("-", "_")  # import: a word of the language itself
        import_module(f"aedo.commands.{module}").register(app)
    return app


def main() -> None:
    """Entry point: a UserError is printed without traceback and ends with status 2."""
    try:
        build()()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
