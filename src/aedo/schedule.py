"""Values over time.  A schedule is a pure function of the position in training; nothing counts calls by itself.

A *micro-step* is one batch through the model, counted from 0 over the whole training; an *update* is one optimizer step.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from aedo.config import Part


class Progress(NamedTuple):
    """The position in training at which a schedule is evaluated."""

    micro_step: int
    """Batches seen before this one."""
    update: int
    """Optimizer steps done before this one."""
    epoch: float
    """Sub-epochs finished before this batch, with the finished part of the current one as fraction."""
    fraction: float
    """Finished part of the whole training, in [0, 1]."""


START = Progress(0, 0, 0.0, 0.0)

Unit = Literal["micro_step", "update", "epoch", "fraction"]


def _position(progress: Progress, unit: Unit) -> float:
    # The reference counts steps from one inside its formulas; epochs and fractions are continuous already.
    value = getattr(progress, unit)
    return value + 1 if unit in ("micro_step", "update") else value


class Constant(Part):
    kind: Literal["constant"] = "constant"
    value: float

    def at(self, progress: Progress) -> float:
        return self.value


class PiecewiseLinear(Part):
    """Straight lines between nodes; the last value holds afterwards.  Source: "lrlin", "oclr" of the reference."""

    kind: Literal["piecewise_linear"] = "piecewise_linear"
    unit: Unit = "micro_step"
    nodes: tuple[float, ...]
    """Positions, increasing.  A missing first node at 0 is implied when there is one value more than nodes."""
    values: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> PiecewiseLinear:
        if len(self.values) - len(self.nodes) not in (0, 1):
            raise ValueError("piecewise linear schedule needs as many values as nodes, or one more (the value at 0)")
        if any(b <= a for a, b in zip(self.nodes, self.nodes[1:])):
            raise ValueError(f"nodes must increase: {self.nodes}")
        return self

    def at(self, progress: Progress) -> float:
        x = _position(progress, self.unit)
        nodes = (0.0, *self.nodes) if len(self.values) > len(self.nodes) else self.nodes
        if x <= nodes[0]:
            return self.values[0]
        for (x0, x1), (y0, y1) in zip(zip(nodes, nodes[1:]), zip(self.values, self.values[1:])):
            if x < x1:
                return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        return self.values[-1]


class WarmupInverseSqrt(Part):
    """Linear warm-up to the peak, then peak / sqrt(1 + (i - warm-up) / norm).  Noam: norm = warm-up."""

    kind: Literal["warmup_inverse_sqrt"] = "warmup_inverse_sqrt"
    peak: float
    warmup: int = Field(ge=0)
    """Micro-steps of warm-up."""
    norm: int = Field(gt=0)
    """Micro-steps after which the square of the value has halved."""

    def at(self, progress: Progress) -> float:
        i = progress.micro_step + 1
        return self.peak * i / self.warmup if i <= self.warmup else self.peak / math.sqrt(1 + (i - self.warmup) / self.norm)


class Steps(Part):
    """Constant pieces: values[k] from nodes[k-1] (inclusive) on."""

    kind: Literal["steps"] = "steps"
    unit: Unit = "micro_step"
    nodes: tuple[float, ...]
    values: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Steps:
        if len(self.values) != len(self.nodes) + 1:
            raise ValueError("a schedule of steps needs one value more than nodes")
        return self

    def at(self, progress: Progress) -> float:
        x = getattr(progress, self.unit)
        return self.values[sum(x >= node for node in self.nodes)]


Schedule = Annotated[Constant | PiecewiseLinear | WarmupInverseSqrt | Steps, Field(discriminator="kind")]
"""Further kinds join this union."""

Scheduled = float | Schedule
"""A plain number or a schedule."""


def value_at(value: float | Constant | PiecewiseLinear | WarmupInverseSqrt | Steps, progress: Progress) -> float:
    """The value of a number or schedule at this point of training."""
    return float(value) if isinstance(value, (int, float)) else value.at(progress)
