"""Options of the verbs that search: what goes along with the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

Lm = Annotated[
    Optional[Path],  # noqa: UP045 - typer evaluates it on Python 3.10 too
    typer.Option("--lm", help="Language model: a folder of aedo train-lm, or an ARPA file.", show_default=False),
]
LmScale = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--lm-scale", min=0.0, help="Weight of the language model. Default: 0.3.", show_default=False),
]
Hotwords = Annotated[
    str,
    typer.Option("--hotwords", help='Phrases to be heard more readily: a file with one a line, or "phrase;phrase".'),
]
HotwordBias = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--hotword-bias", min=0.0, help="Added for each of their labels. Default: 1.5.", show_default=False),
]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--setting",
        metavar="NAME=VALUE",
        help="Any other setting of the search, such as ctc_scale=0.7 or prior_scale=0.3; repeatable.",
        show_default=False,
    ),
]


def search_settings(
    lm: Path | None = None,
    lm_scale: float | None = None,
    hotwords: str = "",
    hotword_bias: float | None = None,
    settings: list[str] | None = None,
) -> dict[str, Any]:
    """The settings that differ from a run's own, by the names of `SearchConfig`.  UserError where one is misspelled."""
    from aedo.errors import UserError
    from aedo.search.hotwords import read_phrases

    found: dict[str, Any] = {}
    for one in settings or []:
        name, equals, value = one.partition("=")
        if not equals:
            raise UserError(f"--setting {one}: give NAME=VALUE, such as ctc_scale=0.7")
        try:
            found[name.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.strip().replace("-", "_")] = value.strip()
    if lm is not None:
        if not lm.exists():
            raise UserError(f"--lm {lm}: no such file or folder; aedo train-lm makes a language model")
        found["lm"] = str(lm.resolve())
    if hotwords:
        found["hotwords"] = read_phrases(hotwords)
    found |= {name: x for name, x in (("lm_scale", lm_scale), ("hotword_bias", hotword_bias)) if x is not None}
    return found
