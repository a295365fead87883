"""Audio files to samples: decoding, mixing, resampling, peak normalisation."""

from __future__ import annotations

from pydantic import Field

from aedo.config import Part


class AudioConfig(Part):
    sample_rate: int = Field(16000, gt=0)
    """Samples per second the model expects; prepared data has it already."""
    peak_normalize: bool = True
    """Divide every utterance by its largest magnitude (the reference)."""
