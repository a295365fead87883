"""Optimizers by configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aedo.config import Part
from aedo.train.param_groups import WeightDecayConfig


class OptimizerConfig(Part):
    kind: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: WeightDecayConfig = WeightDecayConfig()
