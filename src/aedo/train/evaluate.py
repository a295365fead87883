"""Losses and label error rate on fixed utterances, after each sub-epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol

import numpy as np
import torch

from aedo.data.loader import Loaded
from aedo.losses.objective import Objective
from aedo.model.aed import AED
from aedo.schedule import START, Progress
from aedo.train.config import TrainConfig
from aedo.train.distributed import ALONE, Ranks
from aedo.train.statistics import Tally
from aedo.train.step import forward

EVALUATION_SEED = 42
"""The reference's: the same utterances are evaluated in every run on the same data."""


class BatchSource(Protocol):
    """What the training wants of a loader."""

    def plan(self, epoch: int, progress: Progress) -> list[np.ndarray]: ...

    def batches(self, epoch: int, progress: Progress, start: int = 0) -> Iterator[Loaded]: ...


def fixed_utterances(available: int, wanted: int) -> np.ndarray:
    """Indices of `wanted` of the `available` utterances, in their own order; all where there are not more."""
    chosen = np.random.RandomState(EVALUATION_SEED).permutation(available)[:wanted]
    return np.sort(chosen)


@torch.no_grad()
def evaluate(
    model: AED,
    objective: Objective,
    source: BatchSource,
    progress: Progress,
    config: TrainConfig,
    device: torch.device,
    stopped: Callable[[], bool],
    ranks: Ranks = ALONE,
) -> dict[str, float] | None:
    """Mean of every term over the utterances of `source`; None where `stopped` became true on the way.

    Of several ranks each has a source of its own; the mean is that of all of them.
    """
    model.eval()
    tally, broken_off = Tally(finite_only=False), False
    if ranks.alone or source.plan(1, START):  # a rank may have no share of few utterances
        with closing(source.batches(1, START)) as batches:  # type: ignore[type-var]  # generators have close()
            for loaded in batches:
                broken_off = stopped()
                if broken_off:
                    break
                if loaded.batch is not None:
                    tally.add(forward(model, objective, loaded.batch, progress, config, device))
    if ranks.any(broken_off)[0]:
        return None
    return Tally.merged(ranks.gather(tally.state())).means()
