"""SpecAugment as the reference does it: masks of zeros over time and over mel bands, in three phases.

B batch, T frames, F mel bands, M masks.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aedo.config import Part
from aedo.features.logmel import Features
from aedo.schedule import Progress


class SpecAugmentConfig(Part):
    steps: tuple[int, int, int] = (0, 1000, 2000)
    """Micro-steps from which on there are masks, at least one of each kind, and twice as many."""
    max_time_width: int = Field(20, ge=1)
    """Widest mask over time, in frames."""
    max_band_width: int = Field(16, ge=1)
    """Widest mask over mel bands."""
    frames_per_mask: int = Field(100, ge=1)
    """One more mask over time for each so many frames."""
    count_from: Literal["batch", "utterance"] = "batch"
    """Whose length sets the number of time masks: each utterance's own, or (the original) the longest of the batch."""

    def build(self) -> SpecAugment:
        return SpecAugment(self)


class SpecAugment:
    """Masks log-mel features with zeros; the caller applies it in training only.

    Per utterance the numbers of masks are drawn uniformly: over time between k1 + k2 and max(T // frames_per_mask, 2) x
    (k0 + k1 + 2 k2), over bands between k1 + k2 and 2 k0 + k1 + 2 k2, where k0, k1, k2 are 1 from their step on.
    Starts are drawn without replacement, widths uniformly from 1; masks may overlap and end with the utterance.
    Source: Park et al. 2019, as in RETURNN, frontend/audio/specaugment.py.
    """

    def __init__(self, config: SpecAugmentConfig) -> None:
        self.config = config

    def __call__(self, features: Features, progress: Progress) -> Features:
        """[B, T, F] -> [B, T, F]."""
        k0, k1, k2 = (int(progress.micro_step >= step) for step in self.config.steps)
        least = k1 + k2
        values, lengths = features
        if k0 + k1 + k2 == 0 or values.shape[1] == 0:
            return features
        longest = lengths if self.config.count_from == "utterance" else lengths.max().expand(len(lengths))
        most = longest.div(self.config.frames_per_mask, rounding_mode="floor").clamp_min(2) * (k0 + k1 + 2 * k2)
        most = most.minimum(longest)
        device = values.device
        over_time = span_mask(
            lengths, values.shape[1], most.clamp_max(least), most, self.config.max_time_width, device
        )  # [B, T]
        bands = torch.full_like(lengths, values.shape[2])
        most_bands = torch.full_like(lengths, 2 * k0 + k1 + 2 * k2)
        over_bands = span_mask(
            bands, values.shape[2], torch.full_like(lengths, least), most_bands, self.config.max_band_width, device
        )  # [B, F]
        return Features(values.masked_fill(over_time[:, :, None] | over_bands[:, None, :], 0.0), lengths)


def span_mask(lengths: Tensor, size: int, least: Tensor, most: Tensor, max_width: int, device: torch.device) -> Tensor:
    """Union of random spans per row -> [B, size] bool.

    lengths, least, most: [B] int64 on the CPU: valid positions, smallest and largest number of spans of each row.
    """
    count = min(int(most.max()), size)
    lengths, least, most = (t.to(device, non_blocking=True)[:, None] for t in (lengths, least, most))
    rows = lengths.shape[0]
    drawn = least + (torch.rand(rows, 1, device=device) * (most - least + 1)).long()  # uniform on least .. most
    positions = torch.arange(size, device=device)
    scores = torch.rand(rows, size, device=device).masked_fill(positions >= lengths, -1.0)
    starts = scores.topk(count, dim=1).indices  # [B, M], without replacement
    used = (torch.arange(count, device=device) < drawn) & (starts < lengths)
    ends = (starts + torch.randint(1, max_width + 1, (rows, count), device=device)).minimum(lengths)
    # A span adds one at its start and takes it back at its end; wherever the running sum is positive there is a mask.
    edges = torch.zeros(rows, size + 1, device=device, dtype=torch.int32)
    edges.scatter_add_(1, starts, used.int())
    edges.scatter_add_(1, ends, -used.int())
    return edges.cumsum(1)[:, :size] > 0
