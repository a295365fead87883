"""CTC search against counting by hand and against every path."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.search.ctc import ctc_greedy, ctc_paths

BLANK = 4


def one_hot(path: list[int], frames: int) -> torch.Tensor:
    log_probs = torch.full((1, frames, BLANK + 1), -10.0)
    log_probs[0, range(len(path)), path] = 0.0
    return log_probs


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ([4, 4, 4], ()),
        ([1, 1, 4, 1, 2], (1, 1, 2)),
        ([3, 3, 2, 2, 4], (3, 2)),
        ([4, 3, 4, 4, 3, 3], (3, 3)),
        ([1, 0, 0, 4, 2], (1, 2)),  # EOS on a frame is no text
    ],
)
def test_repetitions_merge_and_blanks_vanish(path: list[int], labels: tuple[int, ...]) -> None:
    found = ctc_greedy(one_hot(path, len(path)), torch.tensor([len(path)]))
    assert found.hypotheses(0)[0].labels == labels
    assert found.hypotheses(0)[0].score == 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, BLANK), min_size=1, max_size=12), min_size=1, max_size=5))
def test_a_batch_gives_what_each_utterance_gives(paths: list[list[int]]) -> None:
    frames = max(map(len, paths)) + 2
    log_probs = torch.cat([one_hot(path, frames) for path in paths])
    log_probs[:, :, 2] += 0.5  # padding must not count, whatever it holds
    found = ctc_greedy(log_probs, torch.tensor([len(path) for path in paths]))
    for utterance, path in enumerate(paths):
        expected = tuple(label for label, _ in itertools.groupby(path) if label not in (0, BLANK))
        assert found.hypotheses(utterance)[0].labels == expected


def test_the_best_paths_are_the_best_of_all_paths() -> None:
    log_probs = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    found = ctc_paths(log_probs, torch.tensor([4, 3]), beam=20)
    for utterance, frames in enumerate([4, 3]):
        scores = {
            path: sum(log_probs[utterance, t, symbol].item() for t, symbol in enumerate(path))
            for path in itertools.product(range(5), repeat=frames)
        }
        best = sorted(scores, key=lambda path: -scores[path])[:20]
        hypotheses = found.hypotheses(utterance)
        assert [h.labels for h in hypotheses] == best
        assert [h.score for h in hypotheses] == pytest.approx([scores[path] for path in best], abs=1e-5)
