"""Speed perturbation: resample an utterance and play it at the old rate."""

from __future__ import annotations

from pydantic import Field

from aedo.config import Part


class SpeedConfig(Part):
    factors: tuple[float, ...] = Field((0.9, 1.0, 1.1), min_length=1)
    """Length factors drawn uniformly per utterance (1.1 = slower, longer)."""
