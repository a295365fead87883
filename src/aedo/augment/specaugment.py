"""SpecAugment as the reference does it: masks of zeros over time and over mel bands, in three phases."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aedo.config import Part


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
