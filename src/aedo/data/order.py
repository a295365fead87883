"""Order of the utterances in an epoch: a pure function of (seed, epoch, rank, world)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aedo.config import Part


class OrderConfig(Part):
    kind: Literal["laplace", "sorted", "random"] = "laplace"
    """laplace: shuffled bins, sorted alternately up and down (the reference); sorted: by length; random: shuffled."""
    bin_size: int = Field(1000, ge=1)
    """Utterances per bin of `laplace`."""
    partition: int = Field(1, ge=1)
    """Sub-epochs per pass over the data."""
    short_first_epochs: int = Field(0, ge=0)
    """Sub-epochs that keep only the shortest utterances (see `short_first_seconds`)."""
    short_first_seconds: float = Field(10.0, gt=0)
    """In those sub-epochs: the largest mean duration of the utterances kept."""
