"""Order of the utterances in an epoch: a pure function of (seed, epoch, rank).

A *pass* is once through all n utterances; with partition P it is cut into P sub-epochs that share one order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from aedo.config import Part

Int64 = npt.NDArray[np.int64]


class OrderConfig(Part):
    kind: Literal["laplace", "sorted", "random", "bucket", "fixed"] = "laplace"
    """laplace: shuffled bins, sorted alternately up and down (the reference); sorted: by length; random: shuffled;
    bucket: shuffled, batches of utterances of like length, in random order; fixed: batches filled in order of length,
    always the same ones, in random order."""
    bin_size: int = Field(1000, ge=1)
    """Utterances per bin of `laplace`."""
    buckets: int = Field(30, ge=1)
    """Groups of like length of `bucket`, each with the same number of utterances."""
    partition: int = Field(1, ge=1)
    """Sub-epochs per pass over the data."""
    short_first_epochs: int = Field(0, ge=0)
    """Sub-epochs that keep only the shortest utterances (see `short_first_seconds`)."""
    short_first_seconds: float = Field(10.0, gt=0)
    """In those sub-epochs: the largest mean duration of the utterances kept."""


def seed_offset(seed: int, rank: int = 0) -> int:
    """What is added to the number of the pass to seed its order.  Seed 1, rank 0 gives the reference's own orders.

    Ranks are 16127 apart (the reference); seeds so far apart that no two share an order within a training.
    """
    return ((seed - 1) * 15_485_863 + rank * 16127) % 2**32


def epoch_order(
    config: OrderConfig, lengths: Int64, sample_rate: int, *, seed: int, epoch: int, rank: int = 0
) -> Int64:
    """Utterances of sub-epoch `epoch` (from 1) in their order.  lengths [n] in samples -> positions [m <= n].

    The order in which batches are filled; of `bucket` and `fixed` the batches themselves are shuffled afterwards.
    """
    if epoch < 1:
        raise ValueError(f"epoch {epoch}: epochs count from 1")
    pass_number = (epoch - 1) // config.partition + 1
    state = np.random.RandomState((pass_number + seed_offset(seed, rank)) % 2**32)
    part = (epoch - 1) % config.partition
    if config.kind == "fixed":
        # A part has every so many-th utterance: the same lengths as all of them, and the same batches in every pass.
        order = np.argsort(lengths, kind="stable")[state.permutation(config.partition)[part] :: config.partition]
    else:
        start, end = part_bounds(len(lengths), config.partition, part)
        order = pass_order(config, lengths, state)[start:end]
    if epoch <= config.short_first_epochs:
        order = shortest(order, lengths, config.short_first_seconds * sample_rate)
    return order


def pass_order(config: OrderConfig, lengths: Int64, state: np.random.RandomState) -> Int64:
    """All utterances in the order of one pass -> [n]."""
    if config.kind == "sorted":
        return np.argsort(lengths, kind="stable")
    order = state.permutation(len(lengths)).astype(np.int64)
    if config.kind in ("random", "bucket"):
        return order
    return laplace(order, lengths, max(len(lengths) // config.bin_size, 2))


def laplace(shuffled: Int64, lengths: Int64, bins: int) -> Int64:
    """Bins of a shuffled order, sorted by length: up in even bins, down in odd ones, so that lengths change smoothly.

    Source: RETURNN, Dataset.get_seq_order_for_epoch, "laplace".
    """
    edges = [i * len(shuffled) // bins for i in range(bins + 1)]
    parts = (shuffled[start:end] for start, end in pairwise(edges))
    # Both ways stable, as the reference: equal lengths keep their shuffled order.
    sorted_parts = (
        part[np.argsort(-lengths[part] if i % 2 else lengths[part], kind="stable")] for i, part in enumerate(parts)
    )
    return np.concatenate([np.zeros(0, np.int64), *sorted_parts])


def longest_first(lengths: Int64) -> Int64:
    """The order of evaluation: by falling length, equal ones as they stand -> [n]."""
    return np.argsort(-lengths, kind="stable")


def part_bounds(size: int, parts: int, part: int) -> tuple[int, int]:
    """First and one past the last position of a contiguous part; the first (size mod parts) parts have one more."""
    share, extra = divmod(size, parts)
    start = part * share + min(part, extra)
    return start, start + share + (part < extra)


def shortest(order: Int64, lengths: Int64, mean_limit: float) -> Int64:
    """The shortest utterances of `order`, as many as keep their mean length within the limit, in their order.

    The shortest one always stays.  Source: RETURNN, EpochWiseFilter (max_mean_len).
    """
    if not len(order):
        return order
    by_length = np.argsort(lengths[order], kind="stable")
    means = np.cumsum(lengths[order][by_length]) / np.arange(1, len(order) + 1)  # never falls
    keep = max(1, int(np.searchsorted(means, mean_limit, side="right")))
    return order[np.sort(by_length[:keep])]
