"""Bootstrap over utterances: how far an error rate, or the difference between two, would move with another test set.

Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.
R replications, n utterances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

REPLICATIONS = 10_000
_BLOCK = 1 << 22  # drawn indices held at once

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    low: float
    high: float
    confidence: float


class Comparison(NamedTuple):
    """The second system against the first, on the same utterances; rates in percent."""

    difference: float
    """WER of the second minus WER of the first: negative where the second is better."""
    interval: Interval
    """Of the difference."""
    p_value: float
    """Two-sided: how likely a difference this clear is by chance; 1 where the systems err alike."""
    better: float
    """Share of the replications in which the second system is strictly better."""

    @property
    def significant(self) -> bool:
        """At the interval's confidence."""
        return self.p_value < 1.0 - self.interval.confidence


def error_rate_interval(
    errors: Sequence[int],
    words: Sequence[int],
    *,
    confidence: float = 0.95,
    replications: int = REPLICATIONS,
    seed: int = 0,
) -> Interval:
    """Percentile interval of 100 * sum of errors / sum of words, resampling utterances with replacement."""
    rates = resampled(np.asarray(errors, np.float64), np.asarray(words, np.float64), replications, seed)
    return percentiles(rates, confidence)


def compare_systems(
    first: Sequence[int],
    second: Sequence[int],
    words: Sequence[int],
    *,
    confidence: float = 0.95,
    replications: int = REPLICATIONS,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap: both systems are judged on the same resampled utterances, which removes what they share.

    `first`, `second`: errors by utterance of the two systems; `words`: reference words by utterance.
    """
    delta = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    weights = np.asarray(words, np.float64)
    differences = resampled(delta, weights, replications, seed)
    below, above = float(np.mean(differences <= 0)), float(np.mean(differences >= 0))
    least = 1.0 / replications  # a finite number of draws cannot show less
    return Comparison(
        100.0 * float(delta.sum() / weights.sum()),
        percentiles(differences, confidence),
        min(1.0, 2.0 * max(min(below, above), least)),
        float(np.mean(differences < 0)),
    )


def resampled(values: Floats, words: Floats, replications: int, seed: int) -> Floats:
    """[R]: 100 * sum of values / sum of words over n utterances drawn with replacement, R times."""
    generator = np.random.default_rng(seed)
    n = len(values)
    rates = np.empty(replications)
    block = max(1, _BLOCK // n)
    for start in range(0, replications, block):
        drawn = generator.integers(0, n, size=(min(block, replications - start), n))
        total = np.maximum(
            words[drawn].sum(1), 1.0
        )  # all drawn references empty: hardly ever, and then no division by 0
        rates[start : start + len(drawn)] = 100.0 * values[drawn].sum(1) / total
    return rates


def percentiles(values: Floats, confidence: float) -> Interval:
    low, high = np.quantile(values, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(float(low), float(high), confidence)
