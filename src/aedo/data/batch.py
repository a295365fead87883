"""Utterances grouped into padded batches.  B batch, N samples, U labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from torch import Tensor

from aedo.config import Part
from aedo.schedule import Scheduled

Int64 = npt.NDArray[np.int64]
D = TypeVar("D", np.float32, np.int64)


class BatchConfig(Part):
    max_samples: Scheduled = 2_400_000
    """Padded size of a batch: utterances x longest one, in samples.  A schedule is evaluated at the epoch's start."""
    count_labels: bool = False
    """Whether padded labels belong to that size: utterances x (longest audio in samples + most labels)."""
    max_utterances: int = Field(200, ge=1)
    max_labels: int | None = Field(75, ge=2)
    """Utterances with more labels (EOS counted) are left out; None: no limit."""
    max_seconds: float | None = Field(None, gt=0)
    """Longer utterances, at their own speed, are left out; None: no limit."""


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


class Candidates(NamedTuple):
    """Utterances in the order in which batches are filled; arrays [n]."""

    utterances: Int64
    """Their numbers in the manifest."""
    rates: Int64
    """Rate each is resampled to; the rate of the audio itself leaves it as it is."""
    lengths: Int64
    """Samples of each after that."""
    space: Int64
    """Samples to reckon with when a batch is filled; no fewer than `lengths`."""
    labels: Int64
    """EOS not counted."""

    def take(self, positions: Int64) -> Candidates:
        return Candidates(*(values[positions] for values in self))


class PlannedBatch(NamedTuple):
    """A batch before anything is read."""

    utterances: Int64
    """Their numbers in the manifest."""
    rates: Int64
    """Rate each is resampled to."""
    lengths: Int64
    """Their lengths in samples, after speed perturbation."""
    left_out: Int64
    """Utterances left out since the batch before: more labels or seconds than `BatchConfig` allows."""


def fill_batches(
    candidates: Candidates,
    left_out: npt.NDArray[np.bool_],
    *,
    max_samples: int,
    max_utterances: int,
    count_labels: bool = False,
) -> list[PlannedBatch]:
    """Utterances in their order, a batch closed when one more would not fit.  left_out: [n].

    A batch fits while utterances x longest <= max_samples; an utterance too long on its own is a batch of one.  Those
    left out take no part, but belong to the batch they would have been in, so that each is reported at one place.
    Source: RETURNN, BatchingIterDataPipe; counting labels: ESPnet, NumElementsBatchSampler.
    """
    closed: list[tuple[int, int]] = []
    first = count = longest = most = 0
    labels = candidates.labels if count_labels else np.zeros_like(candidates.labels)
    rows = zip(candidates.space.tolist(), labels.tolist(), left_out.tolist())
    for position, (length, labelled, skipped) in enumerate(rows):
        if skipped:
            continue
        size = (count + 1) * (max(longest, length) + max(most, labelled))
        if count and (count == max_utterances or size > max_samples):
            closed.append((first, position))
            first, count, longest, most = position, 0, 0, 0
        count, longest, most = count + 1, max(longest, length), max(most, labelled)
    if count:
        closed.append((first, len(left_out)))
    return [_planned(candidates.take(np.arange(a, b)), left_out[a:b]) for a, b in closed]


def _planned(those: Candidates, left_out: npt.NDArray[np.bool_]) -> PlannedBatch:
    kept = ~left_out
    return PlannedBatch(those.utterances[kept], those.rates[kept], those.lengths[kept], those.utterances[left_out])


def padded(rows: Sequence[npt.NDArray[D]], dtype: type[D]) -> npt.NDArray[D]:
    """Rows of different lengths in one array with zeros behind their ends -> [B, longest]."""
    out = np.zeros((len(rows), max(map(len, rows), default=0)), dtype=dtype)
    for target, row in zip(out, rows):
        target[: len(row)] = row
    return out
