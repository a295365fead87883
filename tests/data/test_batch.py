from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aedo.data.batch import Candidates, PlannedBatch, fill_batches, padded

UTTERANCES = st.lists(st.tuples(st.integers(1, 1000), st.booleans()), max_size=60)


def fill(
    numbers: np.ndarray, lengths: np.ndarray, left_out: np.ndarray, labels: np.ndarray | None = None, **limits: Any
) -> list[PlannedBatch]:
    labels = np.zeros_like(numbers) if labels is None else labels
    return fill_batches(Candidates(numbers, np.full_like(numbers, 16000), lengths, lengths, labels), left_out, **limits)


@given(UTTERANCES, st.integers(1, 3000), st.integers(1, 10))
def test_batches_keep_order_and_budget_and_lose_nobody(
    utterances: list[tuple[int, bool]], max_samples: int, most: int
) -> None:
    lengths = np.array([length for length, _ in utterances], dtype=np.int64)
    left_out = np.array([out for _, out in utterances], dtype=np.bool_)
    numbers = np.arange(len(utterances)) + 100
    planned = fill(numbers, lengths, left_out, max_samples=max_samples, max_utterances=most)
    assert [i for batch in planned for i in batch.utterances.tolist()] == numbers[~left_out].tolist()
    assert all(batch.lengths.tolist() == lengths[batch.utterances - 100].tolist() for batch in planned)
    if planned:  # else nobody is there to report them with; the loader refuses such an epoch
        assert [i for batch in planned for i in batch.left_out.tolist()] == numbers[left_out].tolist()
    for batch, following in zip(planned, [*planned, None][1:], strict=True):
        size = len(batch.lengths)
        assert 1 <= size <= most
        assert size == 1 or size * batch.lengths.max() <= max_samples
        if following is not None and size < most:  # closed only because one more would not fit
            assert (size + 1) * max(batch.lengths.max(), following.lengths[0]) > max_samples


def test_an_utterance_beyond_the_budget_is_a_batch_of_its_own() -> None:
    planned = fill(np.arange(3), np.array([5, 50, 5]), np.zeros(3, bool), max_samples=10, max_utterances=9)
    assert [batch.utterances.tolist() for batch in planned] == [[0], [1], [2]]


def test_padded_labels_count_where_they_shall() -> None:
    lengths, labels = np.array([10, 10, 10, 10]), np.array([1, 5, 5, 1])
    numbers, nobody = np.arange(4), np.zeros(4, bool)
    for counted, expected in ((False, [[0, 1, 2], [3]]), (True, [[0, 1], [2, 3]])):
        planned = fill(numbers, lengths, nobody, labels, max_samples=30, max_utterances=9, count_labels=counted)
        assert [batch.utterances.tolist() for batch in planned] == expected


def test_batches_are_filled_by_the_space_utterances_may_need() -> None:
    numbers, nobody = np.arange(4), np.zeros(4, bool)
    short, long = np.full(4, 10), np.full(4, 15)
    planned = fill_batches(Candidates(numbers, long, short, long, short), nobody, max_samples=30, max_utterances=9)
    assert [batch.lengths.tolist() for batch in planned] == [[10, 10], [10, 10]]


def test_padding_puts_zeros_behind_the_end() -> None:
    rows = [np.array([1, 2, 3]), np.array([4])]
    assert padded(rows, np.int64).tolist() == [[1, 2, 3], [4, 0, 0]]
