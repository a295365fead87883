"""Which utterances make up which batches of a sub-epoch, before anything is read.  n utterances, m of a sub-epoch.

All of it is a pure function of (seed, epoch, rank) and the position in training at the sub-epoch's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aedo.augment.speed import SpeedConfig, draw_rates, perturbed_lengths, rates_of
from aedo.data.batch import BatchConfig, Candidates, Int64, PlannedBatch, fill_batches
from aedo.data.order import OrderConfig, epoch_order, longest_first, seed_offset
from aedo.schedule import Progress, value_at

BATCH_ORDER = 1
"""Random numbers of the order of the batches: a stream of their own."""
LABELS = 2
"""And of the labels drawn."""


class Sizes(NamedTuple):
    """The utterances there are; arrays [n]."""

    utterances: Int64
    """Their numbers in the manifest."""
    samples: Int64
    """As stored."""
    labels: Int64
    """EOS not counted; zeros where nothing depends on them."""


def training_plan(
    order: OrderConfig,
    batch: BatchConfig,
    speed: SpeedConfig | None,
    sizes: Sizes,
    sample_rate: int,
    *,
    seed: int,
    epoch: int,
    rank: int,
    progress: Progress,
) -> list[PlannedBatch]:
    """The batches of sub-epoch `epoch` (from 1)."""
    everyone = _candidates(speed, sizes, sample_rate, spacious=order.kind == "fixed")
    chosen = everyone.take(epoch_order(order, everyone.lengths, sample_rate, seed=seed, epoch=epoch, rank=rank))
    if speed is not None and not speed.every:
        rates = draw_rates(speed, chosen.utterances, sample_rate, seed=seed_offset(seed, rank), epoch=epoch)
        lengths = perturbed_lengths(chosen.lengths, rates, sample_rate)
        space = chosen.space if order.kind == "fixed" else lengths
        chosen = chosen._replace(rates=rates, lengths=lengths, space=space)
    groups = _buckets(chosen, order.buckets) if order.kind == "bucket" else [chosen]
    batches = _filled(groups, batch, _too_much(batch, sizes, sample_rate), progress)
    if order.kind in ("bucket", "fixed"):
        state = np.random.RandomState([seed_offset(seed, rank), epoch, BATCH_ORDER])
        batches = [batches[i] for i in state.permutation(len(batches))]
    return batches


def evaluation_plan(batch: BatchConfig, sizes: Sizes, sample_rate: int, progress: Progress) -> list[PlannedBatch]:
    """All utterances at their own speed, by falling length."""
    order = longest_first(sizes.samples)
    lengths, rates = sizes.samples[order], np.full(len(order), sample_rate, dtype=np.int64)
    everyone = Candidates(sizes.utterances[order], rates, lengths, lengths, sizes.labels[order])
    return _filled([everyone], batch, _too_much(batch, sizes, sample_rate), progress)


def _candidates(speed: SpeedConfig | None, sizes: Sizes, sample_rate: int, *, spacious: bool) -> Candidates:
    """Each utterance at its own speed, [n]; or once for every speed, with its length there, [F n].

    `spacious`: where speeds are drawn, with space for the slowest one, so that batches need not depend on the draw.
    """
    rates = rates_of(speed, sample_rate) if speed and speed.every else np.array([sample_rate])
    utterances, samples, labels = (np.tile(values, len(rates)) for values in sizes)
    of_each = np.repeat(rates, len(sizes.utterances))
    lengths = space = perturbed_lengths(samples, of_each, sample_rate)
    if spacious and speed and not speed.every:
        space = perturbed_lengths(samples, np.full_like(samples, rates_of(speed, sample_rate).max()), sample_rate)
    return Candidates(utterances, of_each, lengths, space, labels)


def _buckets(candidates: Candidates, count: int) -> list[Candidates]:
    """Groups of equal size by length (quantiles), each in the order it has."""
    by_length = np.argsort(candidates.lengths, kind="stable")
    return [candidates.take(np.sort(positions)) for positions in np.array_split(by_length, count)]


def _too_much(config: BatchConfig, sizes: Sizes, sample_rate: int) -> Int64 | None:
    """Numbers of the utterances with more labels or seconds than are allowed; None where there are no limits."""
    if config.max_labels is None and config.max_seconds is None:
        return None
    many = sizes.labels + 1 > (np.inf if config.max_labels is None else config.max_labels)  # EOS counts
    long = sizes.samples > (np.inf if config.max_seconds is None else config.max_seconds * sample_rate)
    return sizes.utterances[many | long]


def _filled(
    groups: Sequence[Candidates], config: BatchConfig, too_much: Int64 | None, progress: Progress
) -> list[PlannedBatch]:
    batches: list[PlannedBatch] = []
    homeless: list[Int64] = []  # left out of a group in which there is nobody else
    for group in groups:
        left_out = np.zeros(len(group.utterances), dtype=np.bool_)
        if too_much is not None:
            left_out = np.isin(group.utterances, too_much)
        filled = fill_batches(
            group,
            left_out,
            max_samples=int(value_at(config.max_samples, progress)),
            max_utterances=config.max_utterances,
            count_labels=config.count_labels,
        )
        batches += filled
        if not filled:
            homeless.append(group.utterances)
    if batches and homeless:
        batches[-1] = batches[-1]._replace(left_out=np.concatenate([batches[-1].left_out, *homeless]))
    return batches
