"""Values over time.  A schedule is a pure function of the position in training; nothing counts calls by itself.

A *micro-step* is one batch through the model, counted from 0 over the whole training; an *update* is one optimizer
step.
"""

from __future__ import annotations

import math
from itertools import pairwise
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
    value: float = getattr(progress, unit)
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
        if not self.nodes or len(self.values) - len(self.nodes) not in (0, 1):
            raise ValueError("piecewise linear schedule needs as many values as nodes, or one more (the value at 0)")
        if any(b <= a for a, b in pairwise(self.nodes)):
            raise ValueError(f"nodes must increase: {self.nodes}")
        if len(self.values) > len(self.nodes) and self.nodes[0] <= 0:
            raise ValueError(f"the first node must lie behind 0, where the first value belongs: {self.nodes}")
        return self

    def at(self, progress: Progress) -> float:
        x = _position(progress, self.unit)
        nodes = (0.0, *self.nodes) if len(self.values) > len(self.nodes) else self.nodes
        if x <= nodes[0]:
            return self.values[0]
        for (x0, x1), (y0, y1) in zip(pairwise(nodes), pairwise(self.values)):
            if x < x1:
                return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        return self.values[-1]


class WarmupInverseSqrt(Part):
    """Linear warm-up to the peak, then peak / sqrt(1 + (i - warm-up) / norm).  Noam: norm = warm-up.

    Source: Vaswani et al. 2017.
    """

    kind: Literal["warmup_inverse_sqrt"] = "warmup_inverse_sqrt"
    peak: float = Field(gt=0)
    warmup: int = Field(ge=0)
    """Micro-steps of warm-up."""
    norm: int = Field(gt=0)
    """Micro-steps after which the square of the value has halved."""

    def at(self, progress: Progress) -> float:
        return _inverse_sqrt(progress.micro_step, self.peak, self.warmup, self.norm)


def _inverse_sqrt(micro_step: int, peak: float, warmup: int, norm: int) -> float:
    i = micro_step + 1
    return peak * i / warmup if i <= warmup else peak / math.sqrt(1 + (i - warmup) / norm)


class WavingInverseSqrt(Part):
    """Warm-up and inverse square root, times a cosine that swings between 1 and `floor` ("lrcos" of the reference)."""

    kind: Literal["waving_inverse_sqrt"] = "waving_inverse_sqrt"
    peak: float = Field(gt=0)
    warmup: int = Field(ge=0)
    """Micro-steps of warm-up."""
    norm: int = Field(gt=0)
    """Micro-steps after which the square of the inverse square root has halved."""
    period: int = Field(10_000, gt=0)
    """Micro-steps of one swing; it starts at 1."""
    floor: float = Field(1e-4, ge=0, le=1)

    def at(self, progress: Progress) -> float:
        swing = (1 + math.cos(2 * math.pi * progress.micro_step / self.period)) / 2
        envelope = _inverse_sqrt(progress.micro_step, self.peak, self.warmup, self.norm)
        return envelope * (self.floor + (1 - self.floor) * swing)


class WarmupCosine(Part):
    """Linear warm-up from 0, a pause at the peak, half a cosine down to `final`.  Source: Loshchilov & Hutter 2017.

    The cosine takes `decay` sub-epochs of its own.  In the reference those are as many as the whole training has, so
    that it ends before it arrives at `final`; give fewer to arrive.
    """

    kind: Literal["warmup_cosine"] = "warmup_cosine"
    peak: float = Field(gt=0)
    final: float = Field(ge=0)
    warmup: float = Field(ge=0)
    """Sub-epochs of warm-up."""
    hold: float = Field(0.0, ge=0)
    """Sub-epochs at the peak."""
    decay: float = Field(gt=0)
    """Sub-epochs of half a cosine; later the value rises again, as a cosine does."""

    def at(self, progress: Progress) -> float:
        if progress.epoch < self.warmup:
            return self.peak * progress.epoch / self.warmup
        x = max(0.0, progress.epoch - self.warmup - self.hold) / self.decay
        return self.final + (self.peak - self.final) * (1 + math.cos(math.pi * x)) / 2


class Leg(Part):
    """Part of a ByEpoch schedule."""

    epochs: int = Field(ge=1)
    """Sub-epochs, the last of which has the value `end`."""
    end: float = Field(gt=0)
    spacing: Literal["linear", "geometric"] = "linear"
    start: float | None = Field(None, gt=0)
    """Value of the first sub-epoch; None: the one at which the leg before ended."""

    def between(self, start: float, share: float) -> float:
        """The value at a share of the way from `start` to the end."""
        if self.spacing == "geometric":
            return start * math.pow(self.end / start, share)
        return start + (self.end - start) * share


class ByEpoch(Part):
    """One value per sub-epoch, evenly or geometrically spaced in legs ("fine-tuning" of the reference).

    A leg's first sub-epoch has the value at which the leg before ended (at first: `start`) unless it has a start of its
    own, its last one has the leg's end; so at a joint two sub-epochs have the same value.  The last value holds
    afterwards.
    """

    kind: Literal["by_epoch"] = "by_epoch"
    start: float = Field(gt=0)
    legs: tuple[Leg, ...] = Field(min_length=1)
    continuous: bool = False
    """Change with every micro-step; a leg then arrives where its last sub-epoch ends."""

    def at(self, progress: Progress) -> float:
        epoch = progress.epoch if self.continuous else math.floor(progress.epoch)
        before = self.start
        for leg in self.legs:
            start, way = before if leg.start is None else leg.start, leg.epochs - (not self.continuous)
            if epoch < way:
                return leg.between(start, epoch / way)
            if epoch == way and not self.continuous:
                return leg.end
            epoch, before = epoch - leg.epochs, leg.end
        return before


class PowerDecay(Part):
    """start x (1 + x) ^ -power, x from 0."""

    kind: Literal["power_decay"] = "power_decay"
    unit: Unit = "update"
    start: float = Field(ge=0)
    power: float = Field(gt=0)

    def at(self, progress: Progress) -> float:
        x: float = getattr(progress, self.unit)
        return self.start * math.pow(1.0 + x, -self.power)


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
        if any(b <= a for a, b in pairwise(self.nodes)):
            raise ValueError(f"nodes must increase: {self.nodes}")
        return self

    def at(self, progress: Progress) -> float:
        x: float = getattr(progress, self.unit)
        return self.values[sum(x >= node for node in self.nodes)]


AnySchedule = (
    Constant | PiecewiseLinear | WarmupInverseSqrt | WavingInverseSqrt | WarmupCosine | ByEpoch | PowerDecay | Steps
)

Schedule = Annotated[AnySchedule, Field(discriminator="kind")]
"""Further kinds join this union."""

Scheduled = float | Schedule
"""A plain number or a schedule."""


def value_at(value: float | AnySchedule, progress: Progress) -> float:
    """The value of a number or schedule at this point of training."""
    return float(value) if isinstance(value, (int, float)) else value.at(progress)


def peak_of(schedule: AnySchedule) -> float:
    """Largest value of a schedule."""
    if isinstance(schedule, (PiecewiseLinear, Steps)):
        return max(schedule.values)
    if isinstance(schedule, ByEpoch):
        return max(value for leg in schedule.legs for value in (schedule.start, leg.start or 0.0, leg.end))
    if isinstance(schedule, PowerDecay):
        return schedule.start
    return schedule.value if isinstance(schedule, Constant) else schedule.peak
