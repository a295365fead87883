"""Dropout whose mask can be shared along axes.

The reference draws one mask over the features and shares it over batch and time (its default); sharing over time only,
or not at all, are the usual alternatives.  B batch, T frames, D features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        return x * self.keep(x)

    def keep(self, x: Tensor) -> Tensor:
        """What x is multiplied by in training, of the size of a mask."""
        return kept(self._mask_shape(x), self.rate, x.device).to(x.dtype).div_(1.0 - self.rate)

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
        keep = self.keep(weights.shape, weights.device)
        return weights if keep is None else weights * keep.to(weights.dtype).mul_(self.factor)

    @property
    def factor(self) -> float:
        """Of the weights kept."""
        return 1.0 / (1.0 - self.rate)

    def keep(self, shape: Sequence[int], device: torch.device) -> Tensor | None:
        """Which weights of this `shape` [..., keys] are kept, ones and zeros (uint8); None where nothing is dropped."""
        if not self.training or self.rate == 0.0:
            return None
        if self.share == "all_but_keys":
            shape = (*[1] * (len(shape) - 1), shape[-1])
        return kept(shape, self.rate, device)


RATES = 2**16
"""Masks know so many rates of dropout: a rate is off by 1 / 2 RATES at most."""


def kept(shape: Sequence[int], rate: float, device: torch.device) -> Tensor:
    """Ones with probability 1 - rate, else zeros, uint8.

    Four elements share a random number of 64 bits: on CPUs that is four times as fast as drawing each on its own.
    """
    count = math.prod(shape)
    if count < 1000 or not 0.01 <= rate <= 0.99:  # few; or rates that would be far off
        return torch.empty(*shape, dtype=torch.uint8, device=device).bernoulli_(1.0 - rate)
    numbers = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    drawn = numbers.view(torch.int16)[:count].view(*shape)
    return (drawn >= round(rate * RATES) - RATES // 2).view(torch.uint8)


def kept_layers(count: int, rate: float) -> list[bool]:
    """Which of `count` layers a training step goes through; the others are passed over.

    Drawn from torch's state of the CPU, so that no device is waited for.
    Source: Fan et al. 2020 (LayerDrop), without rescaling, as in ESPnet.
    """
    if rate == 0.0:
        return [True] * count
    return (torch.rand(count) >= rate).tolist()
