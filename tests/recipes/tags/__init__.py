"""By spelling: a base on which the tag changes something, and what it sets there; a file for each file of tags."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

Sets = tuple[str, dict[str, Any]]


def all_spelled() -> dict[str, Sets]:
    """The tables of all files together."""
    tables = [import_module(f"{__name__}.{module.name}").SPELLED for module in iter_modules(__path__)]
    return {text: sets for table in tables for text, sets in table.items()}
