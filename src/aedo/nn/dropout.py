"""Dropout whose mask can be shared along axes.

The reference draws one mask over the features and shares it over batch and time (its default); sharing over time only,
or not at all, are the usual alternatives.  B batch, T frames, D features.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part

Share = Literal["none", "time", "batch_time"]


class DropoutConfig(Part):
    rate: float = Field(0.1, ge=0.0, lt=1.0)
    """Probability of dropping a unit."""
    share: Share = "batch_time"
    """Axes that share one mask: none; T; B and T (the reference)."""

    def build(self) -> Dropout:
        return Dropout(self.rate, self.share)


class Dropout(nn.Module):
    """Inverted dropout on [B, T, D] or packed [N, D]; identity in evaluation and at rate 0.

    Source: Srivastava et al. 2014; sharing over time: Gal & Ghahramani 2016.
    """

    def __init__(self, rate: float, share: Share) -> None:
        super().__init__()
        self.rate, self.share = rate, share

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
