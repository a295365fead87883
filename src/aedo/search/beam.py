"""Label-synchronous beam search of the attention decoder, batched over utterances and hypotheses."""

from __future__ import annotations

from pydantic import Field

from aedo.config import Part


class SearchConfig(Part):
    beam: int = Field(12, ge=1)
    """Hypotheses kept per utterance."""
    length_normalization: float = 1.0
    """Exponent of the length normalisation."""
    max_samples: int = Field(3_200_000, gt=0)
    """Padded samples per recognition batch."""
    max_utterances: int = Field(200, ge=1)
