"""Optimizers by configuration."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from aedo.config import Part
from aedo.train.param_groups import WeightDecayConfig, decaying


class OptimizerConfig(Part):
    kind: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: WeightDecayConfig = WeightDecayConfig()

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer: one group of parameters with weight decay, one without.  The step sets the rate."""
        parameters = dict(model.named_parameters())
        groups = [
            {"params": [parameters[name] for name in names], "weight_decay": decay}
            for names, decay in zip(decaying(model, self.weight_decay), (self.weight_decay.value, 0.0))
            if names
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=self.betas, eps=self.eps, fused=True)
