from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aedo.data.order import OrderConfig, epoch_order, shortest

LENGTHS = st.lists(st.integers(0, 500_000), max_size=60).map(lambda values: np.array(values, dtype=np.int64))
CONFIGS = st.builds(
    OrderConfig,
    kind=st.sampled_from(["laplace", "sorted", "random", "bucket", "fixed"]),
    bin_size=st.integers(1, 20),
    partition=st.integers(1, 7),
)


@given(LENGTHS, CONFIGS, st.integers(-5, 2**40), st.integers(0, 9), st.integers(0, 70))
def test_a_pass_has_every_utterance_once(
    lengths: np.ndarray, config: OrderConfig, seed: int, number: int, rank: int
) -> None:
    first = number * config.partition + 1
    parts = [
        epoch_order(config, lengths, 16000, seed=seed, epoch=epoch, rank=rank)
        for epoch in range(first, first + config.partition)
    ]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_same_arguments_give_the_same_order_and_others_another() -> None:
    lengths = np.random.RandomState(0).randint(1, 300_000, 200)

    def order(seed: int = 1, epoch: int = 1, rank: int = 0) -> list[int]:
        return epoch_order(OrderConfig(bin_size=20), lengths, 16000, seed=seed, epoch=epoch, rank=rank).tolist()

    assert order() == order()
    others = [order(seed=2), order(seed=2, epoch=2), order(epoch=2), order(rank=1), order(rank=2)]
    assert len({tuple(other) for other in [order(), *others]}) == 6


def test_sorted_goes_from_short_to_long() -> None:
    assert epoch_order(OrderConfig(kind="sorted"), np.array([3, 1, 2]), 16000, seed=1, epoch=1).tolist() == [1, 2, 0]


@given(LENGTHS.filter(len), st.floats(0.1, 40))
def test_short_first_keeps_as_many_of_the_shortest_as_the_mean_allows(lengths: np.ndarray, seconds: float) -> None:
    config = OrderConfig(kind="random", short_first_epochs=1, short_first_seconds=seconds)
    whole = epoch_order(config.with_("short_first_epochs", 0), lengths, 16000, seed=1, epoch=1)
    kept = epoch_order(config, lengths, 16000, seed=1, epoch=1)
    limit = seconds * 16000
    assert len(kept) == 1 or lengths[kept].mean() <= limit
    left = np.setdiff1d(whole, kept)
    if len(left):
        shortest_left = lengths[left].min()
        assert lengths[kept].max() <= shortest_left
        assert (lengths[kept].sum() + shortest_left) / (len(kept) + 1) > limit
    assert [i for i in whole if i in set(kept.tolist())] == kept.tolist()  # the order stays


def test_short_first_ends_after_its_epochs() -> None:
    lengths = np.array([160_000, 480_000])
    config = OrderConfig(short_first_epochs=2)
    assert [len(epoch_order(config, lengths, 16000, seed=1, epoch=epoch)) for epoch in (1, 2, 3)] == [1, 1, 2]


def test_shortest_of_nothing_is_nothing() -> None:
    assert len(shortest(np.zeros(0, np.int64), np.zeros(0, np.int64), 1.0)) == 0


def test_epochs_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        epoch_order(OrderConfig(), np.array([1]), 16000, seed=1, epoch=0)
