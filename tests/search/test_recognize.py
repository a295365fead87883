"""From audio to text: batching, order, and input that no model can use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aedo.data.text import CharTokenizer
from aedo.errors import UserError
from aedo.search.config import SearchConfig
from aedo.search.recognize import Recognizer, batches
from tests.score.runs import small_experiment

TOKENIZER = CharTokenizer("abc ")


def recognizer(**changes: int) -> Recognizer:
    torch.manual_seed(1)
    model = small_experiment().build_model(TOKENIZER.size)
    return Recognizer(model, TOKENIZER, SearchConfig(beam=2, whole_beam=True, **changes))


def noise(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=int(16000 * seconds)).astype(np.float32)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 120), st.integers(1, 6))
def test_batches_hold_everything_once_within_the_limits(lengths: list[int], samples: int, utterances: int) -> None:
    found = batches(lengths, samples, utterances)
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) <= utterances
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= samples
    flat = [lengths[i] for batch in found for i in batch]
    assert flat == sorted(lengths, reverse=True)


def test_results_come_in_the_order_given_whatever_the_batches() -> None:
    audio = [noise(seconds, i) for i, seconds in enumerate((0.5, 1.2, 0.3, 0.9))]
    whole = recognizer().recognize(audio)
    small = recognizer(max_samples=16000).recognize(audio)
    assert [r.labels for r in whole] == [r.labels for r in small]
    assert [r.score for r in whole] == pytest.approx([r.score for r in small], abs=1e-5)
    assert all(len(r.hypotheses) == 2 for r in whole)
    assert whole[0].text == TOKENIZER.decode(whole[0].labels)


def test_audio_without_a_single_frame_says_nothing() -> None:
    short, long = np.zeros(100, np.float32), noise(0.5, 1)
    first, second = recognizer().recognize([short, long])
    assert (first.text, first.labels, first.hypotheses) == ("", (), ())
    assert second.hypotheses
    assert recognizer().recognize([]) == []


def test_weights_that_are_not_finite_are_an_error() -> None:
    broken = recognizer()
    with torch.no_grad():
        next(broken.model.decoder.output.parameters()).fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(UserError, match="weights are not finite"):
        broken.recognize([noise(0.5, 1)])
