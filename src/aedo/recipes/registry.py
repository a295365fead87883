"""The `@tag` decorator and the table of all tags.

A tag is a pure function Experiment -> Experiment (with the values its spelling carries).  It is applied behind all the
tags it names in `after`, whatever the order in the name, because it reads what they set; one that is `last` behind all
that are not, because it turns values, whoever set them, into others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, TypeVar

from aedo.experiment import Experiment
from aedo.recipes.about import About, about, first_sentence
from aedo.recipes.notation import Pattern, Range

F = TypeVar("F", bound=Callable[..., Experiment])


class UnfitError(ValueError):
    """A tag that cannot be applied to this experiment; says why, and what to do instead."""


@dataclass(frozen=True)
class Tag:
    name: str
    """The letters of its first spelling, which no other tag shares: posdrop."""
    patterns: tuple[Pattern, ...]
    """All spellings, the preferred one first."""
    apply: Callable[..., Experiment]
    after: tuple[str, ...]
    stage: str
    """Station of the way of an utterance it belongs to: the file it stands in."""
    last: bool = False
    """Applied behind all tags that are not, and allowed to set again what those have set."""

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.apply.__doc__ or "")

    @property
    def about(self) -> About:
        """The docstring taken apart."""
        return about(self.doc)

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        return first_sentence(self.doc)


TAGS: dict[str, Tag] = {}


def tag(*spellings: str, after: Iterable[str] = (), last: bool = False, **ranges: Range) -> Callable[[F], F]:
    """Register a function as a tag.  `ranges` limit the values that the spellings name."""

    def register(function: F) -> F:
        patterns = tuple(Pattern(spelling, ranges) for spelling in spellings)
        name = patterns[0].spelling.split("{")[0]
        if name in TAGS:
            raise ValueError(f"two tags are named {name!r}")
        if not function.__doc__:
            raise ValueError(f"tag {name!r} has no docstring")
        unknown = set(ranges) - {value for pattern in patterns for value in pattern.types}
        if unknown:
            raise ValueError(f"tag {name!r} limits values it does not have: {sorted(unknown)}")
        TAGS[name] = Tag(name, patterns, function, tuple(after), function.__module__.rsplit(".", 1)[-1], last)
        return function

    return register


def application_order() -> list[str]:
    """Names of all tags such that each comes behind those it reads; else in order of registration."""
    order, first = list(TAGS), [name for name, entry in TAGS.items() if not entry.last]
    sorter = TopologicalSorter(
        {name: sorted({*entry.after, *(first if entry.last else ())}, key=order.index) for name, entry in TAGS.items()}
    )
    return list(sorter.static_order())


@dataclass(frozen=True)
class Spelled:
    """A tag as it stands in a name, with its values."""

    text: str
    tag: Tag
    values: dict[str, Any]

    def apply(self, experiment: Experiment) -> Experiment:
        return self.tag.apply(experiment, **self.values)
