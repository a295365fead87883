"""Dropout whose mask can be shared along axes.

The reference draws one mask over the features and shares it over batch and time (its default); sharing over time only,
or not at all, are the usual alternatives.  B batch, T frames, D features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.rates import Rate, rate_at
from aedo.schedule import Progress, Scheduled

Share = Literal["none", "time", "batch_time"]
WeightShare = Literal["none", "all_but_keys"]


class DropoutConfig(Part):
    rate: Rate = 0.1
    """Probability of dropping a unit."""
    share: Share = "batch_time"
    """Axes that share one mask: none; T; B and T (the reference)."""

    def build(self) -> Dropout:
        return Dropout(self.rate, self.share)


class Dropout(nn.Module):
    """Inverted dropout on [B, T, D] or packed [N, D]; identity in evaluation and at rate 0.

    Source: Srivastava et al. 2014; sharing over time: Gal & Ghahramani 2016.
    """

    def __init__(self, rate: Scheduled, share: Share) -> None:
        super().__init__()
        self.schedule, self.rate, self.share = rate, rate_at(rate), share

    def advance(self, progress: Progress) -> None:
        """Take the rate of this point of the training."""
        self.rate = rate_at(self.schedule, progress)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D] -> [B, T, D]
        if not self.training or self.rate == 0.0:
            return x
        mask = x.new_empty(self._mask_shape(x)).bernoulli_(1.0 - self.rate)
        return x * mask.div_(1.0 - self.rate)

    def _mask_shape(self, x: Tensor) -> list[int]:
        shape = list(x.shape)
        if self.share == "none":
            return shape
        if self.share == "time" and x.dim() > 2:  # packed rows have no time axis of their own
            return [shape[0], *[1] * (x.dim() - 2), shape[-1]]
        if self.share == "time":
            return shape
        return [*[1] * (x.dim() - 1), shape[-1]]


class WeightDropout(nn.Module):
    """Inverted dropout of attention weights [..., keys], a mask for each or (`all_but_keys`) one over the keys."""

    def __init__(self, rate: Scheduled, share: WeightShare) -> None:
        super().__init__()
        self.schedule, self.rate, self.share = rate, rate_at(rate), share

    def advance(self, progress: Progress) -> None:
        """Take the rate of this point of the training."""
        self.rate = rate_at(self.schedule, progress)

    def forward(self, weights: Tensor) -> Tensor:  # [..., keys] -> [..., keys]
        if not self.training or self.rate == 0.0:
            return weights
        shape = weights.shape if self.share == "none" else (*[1] * (weights.dim() - 1), weights.shape[-1])
        keep = weights.new_empty(shape).bernoulli_(1.0 - self.rate)
        return weights * keep.div_(1.0 - self.rate)


def kept_layers(count: int, rate: float) -> list[bool]:
    """Which of `count` layers a training step goes through; the others are passed over.

    Drawn from torch's state of the CPU, so that no device is waited for.
    Source: Fan et al. 2020 (LayerDrop), without rescaling, as in ESPnet.
    """
    if rate == 0.0:
        return [True] * count
    return (torch.rand(count) >= rate).tolist()
