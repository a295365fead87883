"""Rates of dropout and zoneout: plain numbers, or schedules over the training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

from aedo.config import Part
from aedo.nn.advance import END
from aedo.schedule import Progress, Scheduled, value_at


def _check(rate: Scheduled) -> Scheduled:
    wrong = [value for value in values_of(rate) if not 0 <= value < 1]
    if wrong:
        raise ValueError(f"{wrong[0]:g} is no rate: it must be at least 0 and less than 1")
    return rate


def values_of(schedule: Scheduled) -> Iterator[float]:
    """The numbers between which a schedule moves."""
    if isinstance(schedule, (int, float)):
        yield schedule
        return
    for name in ("value", "start", "peak", "final"):
        if hasattr(schedule, name):
            yield getattr(schedule, name)
    yield from getattr(schedule, "values", ())
    for leg in getattr(schedule, "legs", ()):
        yield from (leg.end,) if leg.start is None else (leg.start, leg.end)


class RateMark:
    """Stands in the annotation of every rate, so that all rates of a tree can be found."""


Rate = Annotated[Scheduled, AfterValidator(_check), RateMark()]
"""A probability below 1: a plain number or a schedule."""


def rate_at(rate: Scheduled, progress: Progress = END) -> float:
    """A rate at this point of the training; without one, where it ends."""
    return value_at(rate, progress)


def rate_fields(part: Part) -> Iterator[tuple[str, Scheduled]]:
    """Every rate of a tree, by its dotted path."""
    for name, field in type(part).model_fields.items():
        value: Any = getattr(part, name)
        if any(isinstance(mark, RateMark) for mark in field.metadata):
            yield name, value
        elif isinstance(value, Part):
            yield from ((f"{name}.{path}", rate) for path, rate in rate_fields(value))
