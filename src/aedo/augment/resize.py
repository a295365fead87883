"""Utterances made shorter or longer in time: by one factor for the batch, or by leaving frames out.

Fewer frames may be too few for an utterance's labels.  Its CTC loss is then 0, as wherever labels do not fit; the
loader, which leaves out utterances whose labels cannot fit, knows nothing of what happens here.

B batch, T frames, F mel bands.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from aedo.augment.resample import at_frames
from aedo.config import Part
from aedo.features.logmel import Features
from aedo.nn.masks import length_mask
from aedo.schedule import Progress, Scheduled, value_at


class ResizeConfig(Part):
    low: float = Field(gt=0, le=10)
    """Smallest factor of the length."""
    high: float = Field(gt=0, le=10)
    """Largest factor of the length."""
    lengthen_up_to: int | None = Field(None, ge=1)
    """A batch whose longest utterance has more frames than this is not made longer (its memory is bounded)."""

    @model_validator(mode="after")
    def _check(self) -> ResizeConfig:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not smaller than high {self.high:g}")
        if self.lengthen_up_to is not None and not self.low < 1 < self.high:
            raise ValueError(
                f"lengthen_up_to bounds nothing, or leaves no factor to draw, with factors from {self.low:g} to "
                f"{self.high:g}; it needs low below 1 and high above 1"
            )
        return self

    def build(self) -> Resize:
        return Resize(self)


class Resize:
    """Interpolates the whole batch in time, linearly, by one factor drawn uniformly from low .. high.

    A length L becomes ceil(factor L).  Every utterance is read from its own frames only.
    """

    def __init__(self, config: ResizeConfig) -> None:
        self.config = config

    def __call__(self, features: Features, progress: Progress) -> Features:
        """[B, T, F] -> [B, T', F]; the factor is drawn on the CPU, where lengths live."""
        low, high, longest = self.config.low, self.config.high, int(features.lengths.max())
        if self.config.lengthen_up_to is not None and longest > self.config.lengthen_up_to:
            high = 1.0
        return resized(features, low + (high - low) * torch.rand((), dtype=torch.float64).item())


def resized(features: Features, factor: float) -> Features:
    """Every length times the factor, rounded up.  [B, T, F] -> [B, T', F]."""
    values, lengths = features
    new = (lengths.double() * factor).ceil().long()
    if not int(new.max()):
        return features
    frame = torch.arange(int(new.max()), device=values.device, dtype=torch.float32)[None]
    last = lengths.to(values.device, non_blocking=True)[:, None] - 1
    return Features(at_frames(values, (frame + 0.5) / factor - 0.5, torch.zeros_like(last), last), new)


class FrameDropConfig(Part):
    rate: Scheduled
    """Probability of leaving out a frame."""
    keep: int = Field(10, ge=1)
    """Frames that every utterance keeps at least (all, where it has fewer)."""

    def build(self) -> FrameDrop:
        return FrameDrop(self)


class FrameDrop:
    """Leaves out each frame with the same probability, but never so many that less than `keep` are left."""

    def __init__(self, config: FrameDropConfig) -> None:
        self.config = config

    def __call__(self, features: Features, progress: Progress) -> Features:
        """[B, T, F] -> [B, T', F].

        How many frames go is drawn on the CPU, where lengths live; which ones, on the device.  The two together are as
        independent draws for every frame.
        """
        rate = value_at(self.config.rate, progress)
        values, lengths = features
        if rate <= 0 or values.shape[1] == 0:
            return features
        counts = lengths.float()
        drop = torch.binomial(counts, torch.full_like(counts, min(rate, 1.0))).long()
        return without(features, drop.minimum((lengths - self.config.keep).clamp_min(0)))


def without(features: Features, drop: Tensor) -> Features:
    """Leave out so many random frames of each utterance; drop [B] on the CPU.  [B, T, F] -> [B, T', F]."""
    values, lengths = features
    frames, device, new = values.shape[1], values.device, lengths - drop
    valid = length_mask(lengths, frames, device)
    scores = torch.rand(valid.shape, device=device).masked_fill(~valid, -1.0)
    rank = scores.argsort(dim=1, descending=True).argsort(dim=1)  # [B, T], padding last
    kept = rank < new.to(device, non_blocking=True)[:, None]
    order = (~kept).byte().argsort(dim=1, stable=True)[:, : int(new.max())]  # kept frames first, in their order
    return Features(values.gather(1, order[..., None].expand(-1, -1, values.shape[2])), new)
