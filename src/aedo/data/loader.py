"""Batches read by worker processes, ahead of the training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from aedo.augment.labels import SamplingConfig
from aedo.augment.speed import SpeedConfig
from aedo.config import Part
from aedo.data.audio import AudioConfig
from aedo.data.batch import Batch, BatchConfig, Int64, PlannedBatch
from aedo.data.manifest import Manifest
from aedo.data.order import OrderConfig, seed_offset
from aedo.data.plan import LABELS, Sizes, evaluation_plan, training_plan
from aedo.data.reading import Arrays, BadUtterance, Job, ReadBatch, Reader
from aedo.data.text import Tokenizer
from aedo.data.workers import Workers, warm_up
from aedo.errors import UserError
from aedo.schedule import Progress

__all__ = ["BadUtterance", "Loaded", "Loader", "LoaderConfig", "Reading"]


class LoaderConfig(Part):
    workers: int = Field(2, ge=0)
    """Worker processes; 0 reads in the training process.  The batches do not depend on it."""
    prefetch: int = Field(4, ge=1)
    """Batches each worker reads ahead."""
    max_bad_fraction: float = Field(0.1, ge=0, le=1)
    """Share of utterances of a sub-epoch that may be unusable before the run stops."""


@dataclass(frozen=True)
class Reading:
    """What the loader must know of an experiment: the stages from file to batch."""

    audio: AudioConfig
    order: OrderConfig
    batch: BatchConfig
    loader: LoaderConfig
    speed: SpeedConfig | None
    ctc: bool
    """Whether the labels have to fit the encoder's frames."""
    ctc_eos: bool
    sampling: SamplingConfig | None = None
    """How training draws the labels of a text; None: always the same ones."""


class Loaded(NamedTuple):
    """One position of the plan, read."""

    batch: Batch | None
    """None where no utterance of it is usable."""
    bad: tuple[BadUtterance, ...]
    """Utterances that were not used, with the reason."""
    wait: float
    """Seconds the caller waited for it."""


class Loader:
    """The batches of a manifest, epoch by epoch.

    Which utterances make up which batch, and every sample of them, follows from (seed, epoch, rank) and the position in
    training at the epoch's start; worker processes and prefetching change nothing.  Ranks go through all the data, each
    in its own order.
    """

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer,
        reading: Reading,
        *,
        seed: int,
        frames: Callable[[Tensor], Tensor],
        training: bool,
        rank: int = 0,
        world: int = 1,
        indices: Int64 | None = None,
    ) -> None:
        """`frames`: encoder frames for numbers of samples, [n] -> [n].  `indices`: utterances to take (default: all).

        `training` False: by falling length, at their own speed, every epoch alike.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        self.manifest, self.tokenizer, self.reading = manifest, tokenizer, reading
        self.seed, self.rank, self.training = seed, rank, training
        self._frames = frames
        self._indices = np.arange(len(manifest)) if indices is None else np.asarray(indices, dtype=np.int64)
        self._reader = Reader(
            manifest,
            tokenizer,
            reading.audio,
            ctc=reading.ctc,
            ctc_eos=reading.ctc_eos,
            sampling=reading.sampling if training else None,
        )
        self._workers: Workers | None = None
        if reading.loader.workers:
            warm_up()

    def plan(self, epoch: int, progress: Progress) -> list[Int64]:
        """Utterances (numbers in the manifest) of every batch of sub-epoch `epoch` (from 1)."""
        return [planned.utterances for planned in self._plan(epoch, progress)]

    def batches(self, epoch: int, progress: Progress, start: int = 0) -> Iterator[Loaded]:
        """The batches of sub-epoch `epoch` from position `start` on.  `progress`: at the start of the epoch.

        Raises UserError when more than `loader.max_bad_fraction` of the utterances planned are unusable.
        """
        began = time.perf_counter()
        plan = self._plan(epoch, progress)
        if not plan:
            raise UserError(self._nothing_left(epoch))
        tally = _Tally(sum(len(planned.utterances) for planned in plan), self.reading.loader.max_bad_fraction)
        for planned, (arrays, unusable) in zip(
            plan[start:], self._run(self._jobs(plan[start:], self._label_seeds(epoch)))
        ):
            tally.add(unusable)
            batch = None if arrays is None else _batch(arrays)
            yield Loaded(batch, (*self._left_out(planned.left_out), *unusable), time.perf_counter() - began)
            began = time.perf_counter()

    def close(self) -> None:
        """End the worker processes.  They end with the loader and with this process anyway."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def _plan(self, epoch: int, progress: Progress) -> list[PlannedBatch]:
        reading = self.reading
        config, rate = reading.batch, reading.audio.sample_rate
        labels = np.zeros_like(self._indices)
        if config.max_labels is not None or config.count_labels:
            labels = self.manifest.label_lengths(self.tokenizer)[self._indices].astype(np.int64)
        sizes = Sizes(self._indices, self.manifest.num_samples[self._indices], labels)
        if not self.training:
            return evaluation_plan(config, sizes, rate, progress)
        which = {"seed": self.seed, "epoch": epoch, "rank": self.rank}
        return training_plan(reading.order, config, reading.speed, sizes, rate, progress=progress, **which)

    def _label_seeds(self, epoch: int) -> Int64:
        """What to draw the labels of every utterance of the manifest with, in this sub-epoch."""
        if self._reader.sampling is None:
            return np.zeros(len(self.manifest), dtype=np.int64)
        state = np.random.RandomState([seed_offset(self.seed, self.rank), epoch, LABELS])
        return state.randint(2**31, size=len(self.manifest), dtype=np.int64)

    def _jobs(self, plan: Sequence[PlannedBatch], seeds: Int64) -> list[Job]:
        if not plan:
            return []
        lengths = np.concatenate([planned.lengths for planned in plan])
        frames = self._frames(torch.from_numpy(lengths)).numpy().astype(np.int64)
        edges = np.cumsum([len(planned.utterances) for planned in plan])[:-1]
        of_batches = zip(plan, np.split(frames, edges))
        return [
            Job(planned.utterances, planned.rates, planned.lengths, each, seeds[planned.utterances] + planned.rates)
            for planned, each in of_batches
        ]

    def _run(self, jobs: Sequence[Job]) -> Iterator[ReadBatch]:
        config = self.reading.loader
        if not config.workers:
            return map(self._reader.read, jobs)
        if self._workers is None:
            self._workers = Workers(self._reader, config.workers, config.prefetch)
        return self._workers.run(jobs)

    def _left_out(self, utterances: Int64) -> Iterator[BadUtterance]:
        config = self.reading.batch
        for index in utterances.tolist():
            seconds = int(self.manifest.num_samples[index]) / self.reading.audio.sample_rate
            if config.max_seconds is not None and seconds > config.max_seconds:
                reason = f"{seconds:.2f} s, batch.max_seconds is {config.max_seconds:g}"
            else:
                count = int(self.manifest.label_lengths(self.tokenizer)[index])
                reason = f"{count + 1} labels with EOS, batch.max_labels is {config.max_labels}"
            yield BadUtterance(self.manifest.id(index), reason)

    def _nothing_left(self, epoch: int) -> str:
        where = ", ".join(str(file.path) for file in self.manifest.files)
        return (
            f"{where}: no utterance is left for sub-epoch {epoch} (order.partition {self.reading.order.partition}, "
            f"batch.max_labels {self.reading.batch.max_labels}, batch.max_seconds {self.reading.batch.max_seconds}); "
            "use more data, fewer parts or a higher limit"
        )


class _Tally:
    """Counts unusable utterances against the limit."""

    def __init__(self, planned: int, max_fraction: float) -> None:
        self.planned, self.limit, self.max_fraction = planned, max_fraction * planned, max_fraction
        self.count, self.first = 0, list[BadUtterance]()

    def add(self, bad: Sequence[BadUtterance]) -> None:
        self.count += len(bad)
        self.first += bad[: 3 - len(self.first)] if len(self.first) < 3 else ()
        if self.count > self.limit:
            named = "; ".join(f"utterance {one.id}: {one.reason}" for one in self.first)
            raise UserError(
                f"{self.count} of {self.planned} utterances are unusable, more than loader.max_bad_fraction "
                f"{self.max_fraction:g} allows: {named}; mend the data, run aedo prepare again, or raise the limit"
            )


def _batch(arrays: Arrays) -> Batch:
    tensors = {name: torch.from_numpy(getattr(arrays, name)) for name in Arrays._fields[1:]}
    if torch.cuda.is_available():
        for name in ("audio", "labels"):  # what goes to the device, so that copies overlap with work there
            tensors[name] = tensors[name].pin_memory()  # itself, where it is pinned already
    return Batch(arrays.ids, **tensors)
