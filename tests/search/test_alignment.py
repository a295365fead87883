"""Forced alignment against every path, and a batch against each utterance alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.search.alignment import BLANK, align, frames_needed

SYMBOLS = 4
"""Three labels and the blank, which is the last."""


def log_probs(batch: int, frames: int, seed: int) -> torch.Tensor:
    return torch.randn(batch, frames, SYMBOLS, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != SYMBOLS - 1)


def best_of_all(values: torch.Tensor, labels: tuple[int, ...]) -> tuple[float, tuple[int, ...] | None]:
    """Log probability and symbols of the best path that reads as `labels`; values [T, V + 1]."""
    best: tuple[float, tuple[int, ...] | None] = (float("-inf"), None)
    for path in itertools.product(range(SYMBOLS), repeat=len(values)):
        if collapsed(path) == labels:
            best = max(best, (sum(values[t, symbol].item() for t, symbol in enumerate(path)), path))
    return best


def padded(sequences: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(ids) for ids in sequences])
    ids = torch.zeros(len(sequences), max(1, int(lengths.max())), dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    return ids, lengths


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=3).map(tuple), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(0, 1000),
)
def test_the_path_is_the_best_of_all_paths(texts: list[tuple[int, ...]], frames: int, seed: int) -> None:
    values = log_probs(len(texts), frames, seed)
    lengths = torch.tensor([max(1, frames - row) for row in range(len(texts))])
    found = align(values, lengths, *padded(texts))
    for row, labels in enumerate(texts):
        valid = values[row, : lengths[row]]
        score, path = best_of_all(valid, labels)
        assert bool(found.fits[row]) == (path is not None)
        if path is None:
            assert (found.positions[row] == BLANK).all()
            continue
        assert found.log_probs[row].item() == pytest.approx(score, abs=1e-5)
        here = found.positions[row].tolist()
        symbols = [SYMBOLS - 1 if position == BLANK else labels[position] for position in here]
        assert sum(valid[t, s].item() for t, s in enumerate(symbols[: len(valid)])) == pytest.approx(score, abs=1e-5)
        assert collapsed(tuple(symbols[: len(valid)])) == labels
        assert here[len(valid) :] == [BLANK] * (frames - len(valid))
        for label in range(len(labels)):
            inside = [t for t, position in enumerate(here) if position == label]
            start, stop = int(found.starts[row, label]), int(found.stops[row, label])
            assert inside == list(range(start, stop))
            peak = max(values[row, t, labels[label]].item() for t in inside)
            assert found.peaks[row, label].item() == pytest.approx(peak)


def test_a_batch_gives_what_each_utterance_gives() -> None:
    texts = [(0, 1, 1), (2,), (), (1, 2)]
    lengths = torch.tensor([9, 4, 6, 2])
    values = log_probs(4, 9, 3)
    together = align(values, lengths, *padded(texts))
    for row, labels in enumerate(texts):
        length = int(lengths[row])
        alone = align(values[row : row + 1, :length], lengths[row : row + 1], *padded([labels]))
        assert together.positions[row, :length].tolist() == alone.positions[0].tolist()
        assert together.log_probs[row].item() == alone.log_probs[0].item()


def test_what_does_not_fit_says_so_and_harms_no_other() -> None:
    texts = [(0, 0), (0, 1), (0, 1, 2)]
    ids, label_lengths = padded(texts)
    assert frames_needed(ids, label_lengths).tolist() == [3, 2, 3]
    found = align(log_probs(3, 2, 1), torch.tensor([2, 2, 2]), ids, label_lengths)
    assert found.fits.tolist() == [False, True, False]
    assert found.starts[0].tolist() == found.stops[0].tolist() == [0, 0, 0]
    assert found.peaks[0].tolist() == [float("-inf")] * 3


def test_frames_of_padding_count_for_nothing() -> None:
    values = log_probs(1, 6, 2)
    spoiled = values.clone()
    spoiled[:, 4:] = 100.0
    lengths, text = torch.tensor([4]), padded([(0, 1)])
    assert align(values, lengths, *text).positions.tolist() == align(spoiled, lengths, *text).positions.tolist()
