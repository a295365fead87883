"""Utterances grouped into padded batches.  B batch, N samples, U labels."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from torch import Tensor

from aedo.config import Part
from aedo.schedule import Scheduled


class BatchConfig(Part):
    max_samples: Scheduled = 2_400_000
    """Padded size of a batch: utterances x longest utterance, in samples.  A schedule is evaluated at the epoch's start."""
    max_utterances: int = Field(200, ge=1)
    max_labels: int | None = Field(75, ge=2)
    """Utterances with more labels (EOS counted) are left out; None: no limit."""


@dataclass(frozen=True)
class Batch:
    """Padded utterances.  Lengths stay on the CPU; labels carry no EOS (parts that want one append it)."""

    ids: tuple[str, ...]
    audio: Tensor
    """[B, N] float32, zeros behind the end."""
    audio_lengths: Tensor
    """[B] int64, on the CPU, in samples."""
    labels: Tensor
    """[B, U] int64, zeros behind the end."""
    label_lengths: Tensor
    """[B] int64, on the CPU, EOS not counted."""
