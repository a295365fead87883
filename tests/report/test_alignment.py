from itertools import groupby, product

import numpy as np
import pytest

from aedo.report.alignment import BLANK, align_ctc


def random_log_probs(frames: int, symbols: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(frames, symbols)) * 2
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def brute_force(log_probs: np.ndarray, labels: tuple[int, ...]) -> float:
    """The best of all paths that collapse to the labels."""
    frames, symbols = log_probs.shape
    best = -np.inf
    for path in product(range(symbols), repeat=frames):
        if tuple(s for s, _ in groupby(path) if s != symbols - 1) == labels:
            best = max(best, log_probs[np.arange(frames), path].sum())
    return float(best)


@pytest.mark.parametrize("labels", [(), (0,), (1, 0), (0, 0), (1, 1, 0), (0, 1, 0)])
@pytest.mark.parametrize("seed", range(4))
def test_finds_the_best_of_all_paths(labels, seed):
    log_probs = random_log_probs(6, 3, seed)
    assert align_ctc(log_probs, labels).log_prob == pytest.approx(brute_force(log_probs, labels))


@pytest.mark.parametrize("labels", [(), (1, 0), (0, 0, 1)])
def test_the_path_reads_as_the_labels_and_has_the_stated_probability(labels):
    log_probs = random_log_probs(9, 3, 7)
    found = align_ctc(log_probs, labels)
    symbols = [2 if p == BLANK else labels[p] for p in found.positions]
    assert tuple(s for s, _ in groupby(symbols) if s != 2) == labels
    assert log_probs[np.arange(9), symbols].sum() == pytest.approx(found.log_prob)


def test_labels_that_need_more_frames_than_there_are_are_refused():
    with pytest.raises(ValueError, match="3 labels need 4 frames, there are 3"):
        align_ctc(random_log_probs(3, 3, 0), (0, 0, 1))
