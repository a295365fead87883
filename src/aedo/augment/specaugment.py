"""SpecAugment: masks of zeros over time and over mel bands, in three phases.

B batch, T frames, F mel bands, M masks.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from aedo.config import Part
from aedo.features.logmel import Features
from aedo.schedule import Progress, Scheduled, value_at

Count = Annotated[int, Field(ge=0)]
Counts = tuple[Count, Count, Count]
Factor = Annotated[float, Field(ge=0)]


class SpecAugmentConfig(Part):
    steps: tuple[int, int, int] = (0, 1000, 2000)
    """Micro-steps at which the three phases begin; before the first there are no masks."""
    max_time_width: int = Field(20, ge=1)
    """Widest mask over time, in frames."""
    max_time_share: float | None = Field(None, gt=0, le=1)
    """Widest mask over time as a share of the utterance's length, instead of max_time_width."""
    max_band_width: int = Field(16, ge=1)
    """Widest mask over mel bands."""
    min_width: Literal[0, 1] = 1
    """Narrowest mask of both kinds."""
    frames_per_mask: int | None = Field(100, ge=1)
    """One more mask over time for each so many frames; none: their number does not depend on the length."""
    short_time_masks: int = Field(2, ge=0)
    """Most masks over time of an utterance that has too few frames for more (of any, if frames_per_mask is none)."""
    time_factors: tuple[Factor, Factor, Factor] = (1.0, 2.0, 4.0)
    """Times as many are the most masks over time, by phase; rounded down."""
    min_time_masks: Counts = (0, 1, 2)
    """Fewest masks over time, by phase; the most, where those are fewer."""
    max_band_masks: Counts = (2, 3, 5)
    """Most masks over bands, by phase."""
    min_band_masks: Counts = (0, 1, 2)
    """Fewest masks over bands, by phase; the most, where those are fewer."""
    strength: Scheduled = 1.0
    """Scales all numbers of masks, rounded to the nearest; 0: no masks."""
    count_from: Literal["batch", "utterance"] = "batch"
    """Whose length sets the number of time masks: each utterance's own, or (the original) the longest of the batch."""

    @model_validator(mode="after")
    def _check(self) -> SpecAugmentConfig:
        if list(self.steps) != sorted(self.steps):
            raise ValueError(f"phases cannot begin at {self.steps}: these micro-steps must not fall")
        if self.constant and len(set(self.steps)) > 1:
            raise ValueError(
                f"all three phases have the same masks, so that of {self.steps} only the first counts; "
                "write it three times, or give the phases different masks"
            )
        return self

    @property
    def constant(self) -> bool:
        """Whether all three phases have the same masks."""
        return len(set(zip(self.time_factors, self.min_time_masks, self.max_band_masks, self.min_band_masks))) == 1

    def build(self) -> SpecAugment:
        return SpecAugment(self)


class SpecAugment:
    """Masks log-mel features with zeros; the caller applies it in training only.

    Per utterance the numbers of masks are drawn uniformly between the fewest and the most of the phase.  Starts are
    drawn without replacement, widths uniformly; masks may overlap and end with the utterance.
    Source: Park et al. 2019; the defaults as in RETURNN, frontend/audio/specaugment.py.
    """

    def __init__(self, config: SpecAugmentConfig) -> None:
        self.config = config

    def __call__(self, features: Features, progress: Progress) -> Features:
        """[B, T, F] -> [B, T, F]."""
        config, (values, lengths) = self.config, features
        phase = sum(progress.micro_step >= step for step in config.steps) - 1
        strength = value_at(config.strength, progress)
        if phase < 0 or strength <= 0 or values.shape[1] == 0:
            return features
        most = _times(self._most_over_time(lengths, config.time_factors[phase]), strength)
        least = most.clamp_max(_nearest(config.min_time_masks[phase] * strength))
        width: int | Tensor = config.max_time_width
        if config.max_time_share is not None:
            width = (lengths * config.max_time_share).long()
        over_time = span_mask(
            lengths, values.shape[1], least, most, width, values.device, min_width=config.min_width
        )  # [B, T]
        bands = torch.full_like(lengths, values.shape[2])
        most_bands = _nearest(config.max_band_masks[phase] * strength)
        least_bands = min(most_bands, _nearest(config.min_band_masks[phase] * strength))
        over_bands = span_mask(
            bands,
            values.shape[2],
            torch.full_like(lengths, least_bands),
            torch.full_like(lengths, most_bands),
            config.max_band_width,
            values.device,
            min_width=config.min_width,
        )  # [B, F]
        return Features(values.masked_fill(over_time[:, :, None] | over_bands[:, None, :], 0.0), lengths)

    def _most_over_time(self, lengths: Tensor, factor: float) -> Tensor:
        """[B] -> [B]."""
        config = self.config
        counted = lengths if config.count_from == "utterance" else lengths.max().expand(len(lengths))
        most = torch.full_like(lengths, config.short_time_masks)
        if config.frames_per_mask is not None:
            most = most.maximum(counted.div(config.frames_per_mask, rounding_mode="floor"))
        return (most * factor).long().minimum(counted)


def _nearest(count: float) -> int:
    return math.floor(count + 0.5)


def _times(counts: Tensor, strength: float) -> Tensor:
    return (counts * strength + 0.5).long()


def span_mask(
    lengths: Tensor,
    size: int,
    least: Tensor,
    most: Tensor,
    max_width: int | Tensor,
    device: torch.device,
    *,
    min_width: int = 1,
) -> Tensor:
    """Union of random spans per row -> [B, size] bool.

    lengths, least, most: [B] int64 on the CPU: valid positions, smallest and largest number of spans of each row.
    max_width: for all rows, or [B] on the CPU.
    """
    count = min(int(most.max()), size)
    widest = max_width if isinstance(max_width, int) else max_width.to(device, non_blocking=True)[:, None]
    lengths, least, most = (t.to(device, non_blocking=True)[:, None] for t in (lengths, least, most))
    rows = lengths.shape[0]
    drawn = least + (torch.rand(rows, 1, device=device) * (most - least + 1)).long()  # uniform on least .. most
    positions = torch.arange(size, device=device)
    scores = torch.rand(rows, size, device=device).masked_fill(positions >= lengths, -1.0)
    starts = scores.topk(count, dim=1).indices  # [B, M], without replacement
    used = (torch.arange(count, device=device) < drawn) & (starts < lengths)
    if isinstance(widest, int):
        widths = torch.randint(min_width, widest + 1, (rows, count), device=device)
    else:
        choices = (widest - min_width + 1).clamp_min(1)
        widths = min_width + (torch.rand(rows, count, device=device) * choices).long()
    ends = (starts + widths).minimum(lengths)
    # A span adds one at its start and takes it back at its end; wherever the running sum is positive there is a mask.
    edges = torch.zeros(rows, size + 1, device=device, dtype=torch.int32)
    edges.scatter_add_(1, starts, used.int())
    edges.scatter_add_(1, ends, -used.int())
    return edges.cumsum(1)[:, :size] > 0
