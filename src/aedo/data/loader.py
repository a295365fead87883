"""Batches read by worker processes, ahead of the training step."""

from __future__ import annotations

from pydantic import Field

from aedo.config import Part


class LoaderConfig(Part):
    workers: int = Field(2, ge=0)
    """Worker processes; 0 reads in the training process.  The batches do not depend on it."""
    prefetch: int = Field(4, ge=1)
    """Batches each worker reads ahead."""
    max_bad_fraction: float = Field(0.1, ge=0, le=1)
    """Share of utterances of a sub-epoch that may be unusable before the run stops."""
