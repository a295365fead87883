"""What every vocabulary keeps: labels are 0 .. V - 1, EOS among them; the CTC blank is V, which no vocabulary has."""

from __future__ import annotations

EOS = 0
"""End of sentence."""
