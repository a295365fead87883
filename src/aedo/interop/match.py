"""Fitting a foreign state dict to a model: one message that lists both sides and the nearest matches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from torch import Tensor

from aedo.errors import UserError
from aedo.interop.checkpoint_file import shown

MOST_LINES = 40
"""Per kind of problem in the message; the rest is counted."""


@dataclass
class Misfits:
    """What does not fit, by kind."""

    missing: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Names the model needs, with the shapes it needs."""
    left_over: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Names only the checkpoint has."""
    others: list[str] = field(default_factory=list)
    """Shapes that differ and the like, in words."""

    def raise_any(self, where: str) -> None:
        """UserError that lists all of them; nothing if there are none."""
        if not (self.missing or self.left_over or self.others):
            return
        lines = [
            *_listed("missing in the checkpoint", self.missing, self.left_over),
            *_listed("unknown to the model", self.left_over, self.missing),
            *_cut(self.others),
        ]
        raise UserError(f"{where} does not fit the model:\n  " + "\n  ".join(lines))


def _listed(kind: str, names: Mapping[str, tuple[int, ...]], others: Mapping[str, tuple[int, ...]]) -> list[str]:
    lines = []
    for name, shape in list(names.items())[: MOST_LINES + 1]:
        near = get_close_matches(name, list(others)[:1000], n=1, cutoff=0.6)
        hint = f" (nearest on the other side: {shown(near[0])} {_size(others[near[0]])})" if near else ""
        lines.append(f"{kind}: {shown(name)} {_size(shape)}{hint}")
    return _cut(lines, len(names))


def _cut(lines: list[str], count: int | None = None) -> list[str]:
    count = len(lines) if count is None else count
    return lines if count <= MOST_LINES else [*lines[:MOST_LINES], f"... and {count - MOST_LINES} more of these"]


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def unfamiliar(where: str, state: Mapping[str, Tensor], wanted: Iterable[str]) -> UserError:
    """The error for a state dict that lacks what every model of this family has."""
    lines = []
    for name in wanted:
        near = get_close_matches(name, list(state)[:1000], n=1, cutoff=0.6)
        lines.append(f"missing in the checkpoint: {name}" + (f" (nearest: {shown(near[0])})" if near else ""))
    first = ", ".join(shown(name) for name in list(state)[:5])
    return UserError(
        f"{where}: not a model aedo can import:\n  "
        + "\n  ".join(lines)
        + f"\n  it has {len(state)} names: {first}, ..."
    )
