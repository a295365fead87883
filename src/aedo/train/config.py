"""How long and with what to train."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aedo.config import Part
from aedo.schedule import Schedule, Scheduled, WarmupInverseSqrt
from aedo.train.gradients import GradientConfig
from aedo.train.optimizers import OptimizerConfig


class KeepConfig(Part):
    """Which checkpoints stay on disk, besides the fixed ones of the reference's rule."""

    last: int = Field(5, ge=1)
    best: int = Field(4, ge=0)
    """Best ones by each dev value."""


class TrainConfig(Part):
    epochs: int = Field(2000, ge=1)
    """Sub-epochs."""
    seed: int = 1
    accumulate: Scheduled = 1
    """Micro-steps per update; gradients are summed, leftovers at the end of an epoch are dropped (the reference)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Autocast of the forward pass; parameters, features and losses stay float32."""
    learning_rate: Schedule = WarmupInverseSqrt(peak=2.5e-3, warmup=40_000, norm=40_000)
    optimizer: OptimizerConfig = OptimizerConfig()
    gradients: GradientConfig = GradientConfig()
    keep: KeepConfig = KeepConfig()
    eval_utterances: int = Field(3000, ge=1)
    """Fixed random utterances of dev and of train (devtrain) evaluated after each sub-epoch."""
    average_fraction: float = Field(0.1, ge=0, le=1)
    """The checkpoints kept of this last part of the training are averaged at its end; 0: no average."""
    max_bad_steps: int = Field(20, ge=1)
    """Micro-steps in a row that may be skipped for a loss or gradient that is not finite; more stop the run."""
