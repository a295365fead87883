"""Text to labels and back: normalisation and tokenizers.

Labels are 0 .. V-1, EOS among them; the CTC blank is V, one past the last label, and belongs to no tokenizer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aedo.config import Part


class TokenizerConfig(Part):
    kind: Literal["bpe", "unigram", "char"] = "bpe"
    """SentencePiece byte-pair encoding or unigram model, or characters."""
    size: int = Field(10025, ge=3)
    """Labels including EOS (id 0); a small corpus may give fewer (the run records how many); unused by `char`."""
