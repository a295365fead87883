"""Means over seeds and their intervals: against hand calculation and the normal approximation."""

from __future__ import annotations

import numpy as np
import pytest

from aedo.errors import UserError
from aedo.score.seeds import Sample, Spread, compare_samples, holm, mean_interval
from aedo.score.wer import Pair

RANDOM = np.random.default_rng(3)
T_975 = {2: 4.303, 4: 2.776}
"""Quantiles of Student's t."""


def pairs(errors: list[int], words: int = 4, speakers: int = 2) -> list[Pair]:
    """Utterances of so many words with so many wrong; speakers in turn."""
    return [
        Pair(f"u{i:03d}", f"s{i % speakers}", " ".join(["a"] * words), " ".join(["b"] * n + ["a"] * (words - n)))
        for i, n in enumerate(errors)
    ]


def big(seeds: int, rate: float, shift: int = 0, n: int = 400, speakers: int = 40) -> Sample:
    random = np.random.default_rng(shift)
    return Sample.of([pairs(random.binomial(10, rate, n).tolist(), 10, speakers) for _ in range(seeds)])


def test_rates_and_their_mean_are_those_of_the_hand() -> None:
    sample = Sample.of([pairs([1, 0, 2]), pairs([0, 0, 0])])
    assert sample.rates == [25.0, 0.0]
    assert sample.mean == 12.5


def test_the_spread_is_pooled_over_experiments() -> None:
    two = Sample.of([pairs([1, 0, 2]), pairs([0, 0, 0])])  # 25, 0: squares 312.5
    three = Sample.of([pairs([4, 4, 4]), pairs([4, 4, 4]), pairs([4, 4, 1])])  # 100, 100, 75: squares 416.67
    one = Sample.of([pairs([1, 1, 1])])
    assert Spread.of([two, three, one]) == (pytest.approx(((312.5 + 1250 / 3) / 3) ** 0.5), 3)
    assert Spread.of([one, one]) == (0.0, 0)


def test_with_few_speakers_utterances_are_resampled() -> None:
    sample = Sample.of([pairs([1, 0, 2, 0], speakers=4)])
    assert not sample.by_speaker
    assert sample.units(sample.errors[0]).tolist() == [1, 0, 2, 0]


def test_with_enough_speakers_their_sums_are_resampled() -> None:
    sample = Sample.of([pairs([1, 0, 2, 0, 3, 4, 1], speakers=5)])
    assert sample.by_speaker
    assert sample.units(sample.errors[0]).tolist() == [5, 1, 2, 0, 3]


def test_the_interval_over_speakers_is_as_wide_as_their_spread() -> None:
    sample = big(1, 0.1)
    errors, words = sample.units(sample.errors[0]), sample.units(sample.words)
    residual = errors - sample.mean / 100 * words  # standard error of a ratio of sums, n - 1 degrees of freedom
    deviation = 100 * np.sqrt((residual**2).sum() * len(errors) / (len(errors) - 1)) / words.sum()
    found = mean_interval(sample, Spread(0.0, 0))
    assert found.low == pytest.approx(sample.mean - 1.96 * deviation, abs=0.1 * deviation)
    assert found.high == pytest.approx(sample.mean + 1.96 * deviation, abs=0.1 * deviation)


@pytest.mark.parametrize("freedom", [2, 4])
def test_the_interval_over_seeds_is_that_of_students_t(freedom: int) -> None:
    """All utterances alike: the speakers add nothing."""
    sample = Sample.of([pairs([1] * 20), pairs([1] * 20)])
    found = mean_interval(sample, Spread(2.0, freedom))
    half = T_975[freedom] * 2.0 / 2**0.5
    assert found.low == pytest.approx(25 - half, rel=0.05)
    assert found.high == pytest.approx(25 + half, rel=0.05)


def test_a_difference_has_the_seeds_of_both_sides() -> None:
    first, second = Sample.of([pairs([1] * 20)] * 2), Sample.of([pairs([2] * 20)] * 3)
    found = compare_samples(first, second, Spread(2.0, 4))
    half = T_975[4] * 2.0 * (1 / 2 + 1 / 3) ** 0.5
    assert found.difference == 25.0
    assert found.interval.high - found.interval.low == pytest.approx(2 * half, rel=0.05)


def test_a_difference_is_paired() -> None:
    """The second has one more error in every utterance: whoever is drawn, the difference is the same."""
    first = big(1, 0.3, n=100)
    second = Sample(first.ids, first.references, first.speakers, first.words, first.errors + 1)
    found = compare_samples(first, second, Spread(0.0, 0))
    assert found.interval[:2] == pytest.approx((10, 10))
    assert found.p_value == pytest.approx(2e-4)
    assert mean_interval(first, Spread(0.0, 0)).high - first.mean > 1


def test_equal_systems_show_no_difference() -> None:
    sample = big(2, 0.1)
    found = compare_samples(sample, sample, Spread.of([sample]))
    assert found.difference == 0
    assert found.interval.low < 0 < found.interval.high
    assert found.p_value > 0.9
    assert compare_samples(sample, sample, Spread(0.0, 0)).p_value == 1.0


def test_under_no_difference_about_one_interval_in_twenty_leaves_zero_out() -> None:
    """Speakers and seeds both drawn anew each time; 4 standard deviations of so many trials are 0.09."""
    trials, out = 100, 0
    for trial in range(trials):
        random = np.random.default_rng(1000 + trial)
        level = random.normal(0.2, 0.05, 30).clip(0.02, 0.9)  # of each speaker
        samples = []
        for _ in range(8):
            skill = random.normal(1, 0.05, 2).clip(0.5)  # of each seed
            errors = random.binomial(10, (skill[:, None] * np.tile(level, 10)).clip(0, 1))
            words = np.full(300, 10.0)
            speakers = tuple(f"s{i % 30}" for i in range(300))
            samples.append(Sample(tuple(map(str, range(300))), ("",) * 300, speakers, words, errors.astype(float)))
        found = compare_samples(samples[0], samples[1], Spread.of(samples), replications=1000)
        out += not found.interval.low <= 0 <= found.interval.high
    assert out / trials == pytest.approx(0.05, abs=0.09)


def test_seeds_on_different_utterances_are_refused() -> None:
    with pytest.raises(UserError, match="different utterances"):
        Sample.of([pairs([1, 0]), pairs([1, 0, 2])])
    with pytest.raises(UserError, match="2 and 3 utterances, 2 in common"):
        compare_samples(Sample.of([pairs([1, 0])]), Sample.of([pairs([1, 0, 2])]), Spread(0.0, 0))
    with pytest.raises(UserError, match="no words"):
        Sample.of([[Pair("u", "s", "", "")]])


def test_holm_corrects_for_the_number_of_comparisons() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
