from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aedo.augment.speed import SpeedConfig, draw_rates, perturb, perturbed_lengths

MANY = np.arange(30_000)


def test_factors_are_drawn_evenly_and_each_epoch_anew() -> None:
    config = SpeedConfig(factors=(0.7, 0.8, 0.9, 1.0, 1.1))
    first, second = (draw_rates(config, MANY, 16000, seed=1, epoch=epoch) for epoch in (1, 2))
    values, counts = np.unique(first, return_counts=True)
    assert values.tolist() == [11200, 12800, 14400, 16000, 17600]
    # 6000 expected of each, standard deviation 69
    assert np.abs(counts - 6000).max() < 300
    # Independent draws agree in a fifth of the cases: 6000, standard deviation 69.
    assert abs(int((first == second).sum()) - 6000) < 300


@pytest.mark.parametrize("other", [{"seed": 2, "epoch": 1}, {"seed": 1, "epoch": 2}, {"seed": -1, "epoch": 1}])
def test_the_factor_depends_on_seed_epoch_and_utterance_alone(other: dict[str, int]) -> None:
    config = SpeedConfig()
    shuffled = np.random.RandomState(3).permutation(MANY)
    rates = draw_rates(config, MANY, 16000, seed=1, epoch=1)
    assert np.array_equal(draw_rates(config, shuffled, 16000, seed=1, epoch=1), rates[shuffled])
    # A third of independent draws agree: 10,000, standard deviation 82.
    assert abs(int((draw_rates(config, MANY, 16000, **other) == rates).sum()) - 10_000) < 400


def test_neighbouring_utterances_are_independent() -> None:
    rates = draw_rates(SpeedConfig(), MANY, 16000, seed=1, epoch=1)
    assert abs(int((rates[1:] == rates[:-1]).sum()) - 10_000) < 400


@given(st.integers(1, 6000), st.sampled_from([0.5, 0.7, 0.85, 0.9, 1.0, 1.1, 1.3]))
def test_the_length_is_the_planned_one(size: int, factor: float) -> None:
    rate = int(16000 * factor)
    length = int(perturbed_lengths(np.array([size]), np.array([rate]), 16000)[0])
    assert abs(length - size * rate / 16000) <= 0.5 or length == 1
    samples = perturb(np.ones(size, np.float32), rate, 16000, length)
    assert samples.shape == (length,)
    assert samples.dtype == np.float32


def test_a_slower_tone_is_longer_and_lower() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    slow = perturb(tone, 17600, 16000, 17600)
    assert np.abs(np.fft.rfft(slow)).argmax() * 16000 / 17600 == pytest.approx(400, abs=1)


def test_factor_one_changes_nothing() -> None:
    samples = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert perturb(samples, 16000, 16000, 100) is samples


@pytest.mark.parametrize("factors", [(), (0.0,), (1.0, -1.0), (float("nan"),)])
def test_impossible_factors_are_refused(factors: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        SpeedConfig(factors=factors)
