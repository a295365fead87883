"""Time warping: parts of an utterance faster, others slower, its length unchanged.

Both kinds come before SpecAugment, as in ESPnet, so that masks stay sharp.  B batch, T frames, F mel bands.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aedo.augment.resample import at_frames
from aedo.config import Part
from aedo.features.logmel import Features
from aedo.nn.masks import length_mask
from aedo.schedule import Progress, Scheduled, value_at


class CentreWarpConfig(Part):
    kind: Literal["centre"] = "centre"
    width: Scheduled = 5.0
    """Frames by which the centre moves at most."""
    interpolation: Literal["cubic", "linear"] = "cubic"

    def build(self) -> CentreWarp:
        return CentreWarp(self)


class CentreWarp:
    """Moves one random frame of each utterance and stretches what lies before it and behind it.

    The centre c is uniform on width .. L - width - 1 (L the utterance's own length), its new place uniform on
    c - width + 1 .. c + width; the two parts are interpolated each on its own.  Utterances of at most 2 width frames
    stay as they are.
    Source: Park et al. 2019, in ESPnet's form.
    """

    def __init__(self, config: CentreWarpConfig) -> None:
        self.config = config

    def __call__(self, features: Features, progress: Progress) -> Features:
        """[B, T, F] -> [B, T, F]."""
        width = round(value_at(self.config.width, progress))
        values, lengths = features
        if width <= 0 or values.shape[1] <= 2 * width:
            return features
        length = lengths.to(values.device, non_blocking=True)[:, None]  # [B, 1]
        centre = width + _uniform(length - 2 * width)
        moved = centre - width + 1 + _uniform(torch.full_like(length, 2 * width))
        still = length <= 2 * width
        centre, moved = (torch.where(still, length, place).clamp_min(1) for place in (centre, moved))
        return Features(warp(values, length, centre, moved, cubic=self.config.interpolation == "cubic"), lengths)


def warp(values: Tensor, length: Tensor, centre: Tensor, moved: Tensor, *, cubic: bool) -> Tensor:
    """Frames 0 .. centre - 1 become 0 .. moved - 1, the others the rest.  [B, T, F], three times [B, 1] -> [B, T, F].

    Frames from `length` on stay as they are.
    """
    frame = torch.arange(values.shape[1], device=values.device)[None]  # [1, T]
    before = frame < moved
    start, new_start = torch.where(before, 0, centre), torch.where(before, 0, moved)  # of the part, [B, T]
    end, new_end = torch.where(before, centre, length), torch.where(before, moved, length)
    rate = (end - start) / (new_end - new_start).clamp_min(1)
    positions = start + (frame - new_start + 0.5) * rate - 0.5
    warped = at_frames(values, positions, start, end - 1, cubic=cubic)
    return torch.where((frame < length)[..., None], warped, values)


class FlowWarpConfig(Part):
    kind: Literal["flow"] = "flow"
    std: Scheduled = 1.0
    """Standard deviation of the shift, in frames."""
    spacing: int = Field(10, ge=1)
    """Frames between two independent shifts; straight lines between them."""

    def build(self) -> FlowWarp:
        return FlowWarp(self)


class FlowWarp:
    """Shifts every frame by a smooth random function of time: normal draws every `spacing` frames.

    Where it changes by more than a frame per frame, time runs backwards for a while, as in the original.  Each
    utterance has its own flow and reads from its own frames only; linear interpolation.
    Source: dense image warping over time in RETURNN's Switchboard recipes.
    """

    def __init__(self, config: FlowWarpConfig) -> None:
        self.config = config

    def __call__(self, features: Features, progress: Progress) -> Features:
        """[B, T, F] -> [B, T, F]."""
        std = value_at(self.config.std, progress)
        values, lengths = features
        if std <= 0 or values.shape[1] == 0:
            return features
        device, frames = values.device, values.shape[1]
        nodes = torch.randn(values.shape[0], frames // self.config.spacing + 2, 1, device=device) * std
        frame = torch.arange(frames, device=device, dtype=torch.float32)[None]  # [1, T]
        none, top = torch.zeros((), device=device), torch.full((), float(nodes.shape[1] - 1), device=device)
        flow = at_frames(nodes, frame / self.config.spacing, none, top)[..., 0]  # [B, T]
        last = lengths.to(device, non_blocking=True)[:, None] - 1
        warped = at_frames(values, frame + flow, torch.zeros_like(last), last)
        valid = length_mask(lengths, frames, device)[..., None]
        return Features(torch.where(valid, warped, values), lengths)


def _uniform(count: Tensor) -> Tensor:
    """Whole numbers uniform on 0 .. count - 1, of the same shape; count < 1 gives anything."""
    return (torch.rand(count.shape, device=count.device) * count).long()
