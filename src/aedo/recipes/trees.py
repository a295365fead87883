"""Experiments as flat tables: which fields two of them differ in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aedo.config import Part

Tree = dict[str, Any]
"""A part as nested dictionaries; a part that is not there is None."""


def leaves(part: Part) -> Tree:
    """Every field by its dotted path; a part that is not there is a leaf of value None."""
    return dict(_walk(part.model_dump(), ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _walk(child, f"{path}.{key}" if path else key)
    else:
        yield path, value


_MISSING = object()


def changes(before: Part, after: Part) -> set[str]:
    """Paths of the fields in which two trees differ, also those only one of them has."""
    old, new = leaves(before), leaves(after)
    return {path for path in {*old, *new} if old.get(path, _MISSING) != new.get(path, _MISSING)}


def differences(left: Any, right: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, left, right) of every field that differs; parts of different kinds differ as a whole."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from differences(left[key], right[key], f"{path}.{key}" if path else key)
    elif left != right:
        yield path, left, right


def show(value: Any) -> str:
    """A value in one short line: 1e-05, (4, 8), piecewise_linear(unit=fraction, ...)."""
    if isinstance(value, dict):
        fields = ", ".join(f"{key}={show(child)}" for key, child in value.items() if key != "kind")
        return f"{value.get('kind', '')}({fields})"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(show(child) for child in value)})"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.12g}"
    return "none" if value is None else str(value)
