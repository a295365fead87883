"""Optimizers by configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from aedo.config import Part
from aedo.schedule import START, value_at
from aedo.train.nadam_tf import NAdamTf
from aedo.train.param_groups import WeightDecayConfig
from aedo.train.scaled_adam import ScaledAdam
from aedo.train.uncompiled import uncompiled

MOMENTS = 2
"""Tensors of a parameter's size that each of these optimizers keeps beside it."""

Kind = Literal["adamw", "adam", "nadam", "nadam_tf", "scaled_adam"]


class OptimizerConfig(Part):
    kind: Kind = "adamw"
    """adamw: weight decay apart from the gradient (Loshchilov and Hutter 2019).  adam: added to it (Kingma and Ba 2015)
    as for the next two.  nadam: Nesterov momentum with a schedule (Dozat 2016, as in torch).  nadam_tf: without the
    schedule (RETURNN on TensorFlow).  scaled_adam: updates in proportion to the size of each tensor, no weight decay
    (Yao et al. 2023)."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: WeightDecayConfig = WeightDecayConfig()
    median_clip: float | None = Field(None, gt=0)
    """scaled_adam: bound the gradient's norm by so many times the median of the last 100 updates; None: no bound."""

    @model_validator(mode="after")
    def _check(self) -> OptimizerConfig:
        if self.kind == "scaled_adam" and any(amount != 0 for amount in self.weight_decay.amounts):
            raise ValueError("scaled_adam knows no weight decay: set every value of weight_decay to 0")
        return self

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer, its parameters in groups of equal weight decay.  The step sets rate and decay anew."""
        parameters = dict(model.named_parameters())
        groups: list[dict[str, Any]] = [
            {"params": [parameters[name] for name in group.names], "weight_decay": value_at(group.value, START)}
            for group in self.weight_decay.build(model).groups
        ]
        if self.kind == "adamw":
            return uncompiled(torch.optim.AdamW)(groups, lr=0.0, betas=self.betas, eps=self.eps, fused=True)
        if self.kind == "adam":
            return uncompiled(torch.optim.Adam)(groups, lr=0.0, betas=self.betas, eps=self.eps, fused=True)
        if self.kind == "nadam":
            return uncompiled(torch.optim.NAdam)(groups, lr=0.0, betas=self.betas, eps=self.eps)
        if self.kind == "nadam_tf":
            return uncompiled(NAdamTf)(groups, betas=self.betas, eps=self.eps)
        return uncompiled(ScaledAdam)(groups, betas=self.betas, eps=self.eps, median_clip=self.median_clip)
