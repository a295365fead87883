"""Intervals against the normal approximation and a known implementation; significance on clear cases."""

from __future__ import annotations

import kaldialign
import numpy as np
import pytest

from aedo.score.bootstrap import compare_systems, error_rate_interval

RANDOM = np.random.default_rng(7)
WORDS = RANDOM.integers(5, 40, size=400)
ERRORS = RANDOM.binomial(WORDS, 0.08)


def test_interval_is_as_wide_as_the_spread_of_the_rate() -> None:
    rate = ERRORS.sum() / WORDS.sum()
    residual = ERRORS - rate * WORDS  # standard error of a ratio of sums
    deviation = 100 * np.sqrt((residual**2).sum()) / WORDS.sum()
    found = error_rate_interval(ERRORS.tolist(), WORDS.tolist())
    assert found.low == pytest.approx(100 * rate - 1.96 * deviation, abs=0.1 * deviation)
    assert found.high == pytest.approx(100 * rate + 1.96 * deviation, abs=0.1 * deviation)


def test_interval_agrees_with_kaldi() -> None:
    """Kaldi gives mean and 1.96 standard deviations of the same replications."""
    refs = [["w"] * int(n) for n in WORDS[:100]]
    hyps = [["x"] * int(e) + ["w"] * int(n - e) for n, e in zip(WORDS[:100], ERRORS[:100], strict=True)]
    theirs = kaldialign.bootstrap_wer_ci(refs, hyps, replications=2000)
    ours = error_rate_interval(ERRORS[:100].tolist(), WORDS[:100].tolist())
    width = ours.high - ours.low
    assert ours.low == pytest.approx(100 * theirs["ci95min"], abs=0.08 * width)
    assert ours.high == pytest.approx(100 * theirs["ci95max"], abs=0.08 * width)


def test_the_same_seed_gives_the_same_interval() -> None:
    errors, words = ERRORS.tolist(), WORDS.tolist()
    assert error_rate_interval(errors, words, seed=3) == error_rate_interval(errors, words, seed=3)
    assert error_rate_interval(errors, words, confidence=0.5).low > error_rate_interval(errors, words).low


def test_a_system_that_is_better_everywhere_is_significantly_better() -> None:
    found = compare_systems(ERRORS.tolist(), np.maximum(ERRORS - 1, 0).tolist(), WORDS.tolist())
    assert found.difference < 0
    assert found.interval.high < 0
    assert found.p_value <= 0.001
    assert found.significant
    assert found.better == 1.0


def test_chance_differences_are_not_significant() -> None:
    other = ERRORS.copy()
    other[::2], other[1::2] = ERRORS[1::2], ERRORS[::2]
    found = compare_systems(ERRORS.tolist(), other.tolist(), WORDS.tolist())
    assert not found.significant
    equal = compare_systems(ERRORS.tolist(), ERRORS.tolist(), WORDS.tolist())
    assert equal.p_value == 1.0
    assert equal.difference == 0.0
