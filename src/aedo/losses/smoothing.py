"""Label smoothing of a distribution.  V labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from aedo.schedule import Schedule

Smoothing = Annotated[float, Field(ge=0, lt=1)] | Schedule
"""Share of a target's probability that goes to the other labels: a number or a schedule."""


def smoothed(targets: Tensor, smoothing: float, excluded: int | None = None) -> Tensor:
    """Target distributions [..., V] with `smoothing` of each label's probability spread evenly over the other labels.

    The `excluded` label keeps its probability and gets none of the others': their sum stays what it was.
    Source: Szegedy et al. 2016.
    """
    labels = targets.shape[-1] - (excluded is not None)
    floor = smoothing / (labels - 1)
    mass = targets.sum(-1, keepdim=True)
    if excluded is not None:
        mass = mass - targets[..., excluded, None]
    result = (1.0 - smoothing - floor) * targets + floor * mass
    if excluded is not None:
        result[..., excluded] = targets[..., excluded]
    return result
