"""Batches of like length in random order, fixed ones, and every utterance at every speed."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest

from aedo.augment.speed import SpeedConfig
from aedo.data.batch import BatchConfig, PlannedBatch
from aedo.data.order import OrderConfig
from aedo.data.plan import Sizes, evaluation_plan, training_plan
from aedo.schedule import START, PiecewiseLinear, Progress

RANDOM = np.random.RandomState(0)
SAMPLES = RANDOM.randint(16_000, 320_000, 2_000)
SIZES = Sizes(np.arange(2_000) + 7, SAMPLES, SAMPLES // 16_000 * 3)
BATCH = BatchConfig(max_samples=2_000_000, max_labels=None)
SPEEDS = SpeedConfig()


def plan(
    kind: str,
    epoch: int = 1,
    *,
    speed: SpeedConfig | None = None,
    batch: BatchConfig = BATCH,
    sizes: Sizes = SIZES,
    progress: Progress = START,
    seed: int = 1,
    rank: int = 0,
    **order: float,
) -> list[PlannedBatch]:
    config = OrderConfig.model_validate({"kind": kind, **order})
    return training_plan(config, batch, speed, sizes, 16_000, seed=seed, epoch=epoch, rank=rank, progress=progress)


def numbers(batches: list[PlannedBatch]) -> list[list[int]]:
    return [batch.utterances.tolist() for batch in batches]


def padding(batches: list[PlannedBatch]) -> float:
    padded = sum(len(batch.lengths) * batch.lengths.max() for batch in batches)
    return float(1 - sum(batch.lengths.sum() for batch in batches) / padded)


@pytest.mark.parametrize("speed", [None, SPEEDS])
def test_batches_of_like_length_have_little_padding(speed: SpeedConfig | None) -> None:
    found = {kind: padding(plan(kind, speed=speed)) for kind in ("random", "bucket", "fixed", "sorted")}
    assert found["random"] > 0.3
    assert found["bucket"] < 0.05
    assert found["fixed"] < (0.12 if speed else 0.01)  # speeds drawn make lengths differ within a fixed batch


def test_every_speed_leaves_fixed_batches_nearly_without_padding() -> None:
    assert padding(plan("fixed", speed=SpeedConfig(every=True))) < 0.01


def test_fixed_batches_are_the_same_in_every_pass_and_rank_and_come_in_random_order() -> None:
    first = numbers(plan("fixed", speed=SPEEDS))
    others = [numbers(plan("fixed", epoch, speed=SPEEDS, rank=rank)) for epoch, rank in ((2, 0), (1, 1))]
    others.append(numbers(plan("fixed", speed=SPEEDS, seed=2)))
    assert all(sorted(other) == sorted(first) for other in others)
    assert len({str(other) for other in [first, *others]}) == 4
    assert numbers(plan("fixed", speed=SPEEDS)) == first


def test_fixed_batches_with_sub_epochs_are_the_same_in_every_pass() -> None:
    passes = [[numbers(plan("fixed", epoch, partition=4)) for epoch in range(4 * p + 1, 4 * p + 5)] for p in (0, 1)]
    assert sorted(chain(*passes[0])) == sorted(chain(*passes[1]))
    together = sorted(i for part in passes[0] for batch in part for i in batch)
    assert together == SIZES.utterances.tolist()
    assert all(padding(plan("fixed", epoch, partition=4)) < 0.03 for epoch in (1, 2, 3, 4))


@pytest.mark.parametrize("labels", [False, True])
def test_fixed_batches_stay_within_the_limit_at_any_speed_drawn(labels: bool) -> None:
    config = BATCH.with_("count_labels", labels).with_("max_samples", 1_000_000)
    for epoch in (1, 2, 3):
        for batch in plan("fixed", epoch, speed=SPEEDS, batch=config):
            most = SIZES.labels[batch.utterances - 7].max() if labels else 0
            assert len(batch.lengths) * (batch.lengths.max() + most) <= 1_000_000


def test_buckets_are_shuffled_inside_and_their_batches_mixed() -> None:
    first, second = numbers(plan("bucket")), numbers(plan("bucket", 2))
    assert sorted(chain(*first)) == sorted(chain(*second)) == SIZES.utterances.tolist()
    neighbours = [{frozenset(pair) for batch in batches for pair in pairwise(batch)} for batches in (first, second)]
    assert len(neighbours[0] & neighbours[1]) < 0.1 * len(neighbours[0])
    means = np.array([SAMPLES[np.array(batch) - 7].mean() for batch in first])
    assert (np.diff(means) > 0).mean() == pytest.approx(0.5, abs=0.1)
    one = plan("bucket", buckets=1)
    assert padding(one) == pytest.approx(padding(plan("random")), abs=0.05)


def test_a_bucket_is_a_quantile_of_the_lengths() -> None:
    edges = np.quantile(SAMPLES, np.linspace(0, 1, 11))
    for batch in plan("bucket", buckets=10):
        where = np.searchsorted(edges[1:-1], batch.lengths)
        assert where.max() - where.min() <= 1  # at an edge
        assert batch.lengths.max() - batch.lengths.min() <= np.diff(edges).max() + 1_000


def test_every_speed_has_each_utterance_once_at_each_with_the_right_length() -> None:
    batches = [
        batch for epoch in (1, 2, 3) for batch in plan("laplace", epoch, speed=SpeedConfig(every=True), partition=3)
    ]
    seen = [(i, r) for batch in batches for i, r in zip(batch.utterances.tolist(), batch.rates.tolist())]
    assert sorted(seen) == sorted((i, r) for i in SIZES.utterances.tolist() for r in (14_400, 16_000, 17_600))
    for batch in batches:
        exact = SAMPLES[batch.utterances - 7] * batch.rates / 16_000
        assert abs(batch.lengths - exact).max() <= 0.5


@pytest.mark.parametrize("kind", ["bucket", "fixed", "laplace"])
def test_an_utterance_left_out_is_reported_whatever_its_company(kind: str) -> None:
    sizes = Sizes(np.arange(20), np.arange(20) * 1_000 + 16_000, np.arange(20))
    batches = plan(kind, sizes=sizes, batch=BATCH.with_("max_labels", 10), buckets=10)
    assert sorted(i for batch in batches for i in batch.left_out.tolist()) == list(range(10, 20))
    assert sorted(chain(*numbers(batches))) == list(range(10))


def test_the_size_of_fixed_batches_may_change_over_the_training() -> None:
    config = BATCH.with_("max_samples", PiecewiseLinear(unit="micro_step", nodes=(100,), values=(500_000, 2_000_000)))
    parts = [
        plan("fixed", epoch, batch=config, partition=2, progress=Progress(60 * epoch, 0, 0.0, 0.0)) for epoch in (1, 2)
    ]
    assert sorted(i for part in parts for batch in numbers(part) for i in batch) == SIZES.utterances.tolist()
    sizes = [max(len(batch.lengths) * batch.lengths.max() for batch in part) for part in parts]
    assert sizes[0] <= 500_000 + 1_500_000 * 0.61
    assert sizes[1] > sizes[0]


def test_the_curriculum_reaches_batches_of_every_kind() -> None:
    for kind in ("bucket", "fixed"):
        short = plan(kind, short_first_epochs=1, short_first_seconds=5.0)
        assert sum(len(batch.utterances) for batch in short) < 0.6 * len(SAMPLES)


def test_evaluation_goes_by_falling_length() -> None:
    lengths = np.concatenate([batch.lengths for batch in evaluation_plan(BATCH, SIZES, 16_000, START)])
    assert (np.diff(lengths) <= 0).all()


@pytest.mark.parametrize("kind", ["laplace", "bucket", "fixed"])
def test_long_utterances_are_left_out_by_their_own_speed(kind: str) -> None:
    speed, limit = SpeedConfig(factors=(0.9, 1.0, 1.1), every=kind == "fixed"), 10.0
    whole = {"partition": 1, "short_first_epochs": 0}
    batches = plan(kind, batch=BATCH.with_("max_seconds", limit), speed=speed, **whole)
    longer = set(SIZES.utterances[limit * 16_000 < SAMPLES].tolist())
    assert {i for batch in batches for i in batch.left_out.tolist()} == longer
    assert set(chain(*numbers(batches))) == set(SIZES.utterances.tolist()) - longer
    assert longer
    evaluated = evaluation_plan(BATCH.with_("max_seconds", limit), SIZES, 16_000, START)
    assert {i for batch in evaluated for i in batch.left_out.tolist()} == longer


def test_a_limit_that_nothing_exceeds_changes_nothing() -> None:
    for one, other in zip(plan("laplace"), plan("laplace", batch=BATCH.with_("max_seconds", 1000.0)), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other))
