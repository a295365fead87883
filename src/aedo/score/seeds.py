"""Error rates of experiments that were trained several times, with different seeds.

Two things move such a rate by chance: which utterances and speakers the test set happens to hold, and the seed of the
training.  The first is estimated by a bootstrap over speakers (Bisani and Ney, ICASSP 2004; speakers instead of
utterances, for what one speaker says is not independent); the second by the spread of the rates over seeds, which is
taken to be the same for all experiments compared, since two or three seeds of one say little.  To each replication of
the bootstrap a draw for the seeds is added: Student's t, as many degrees of freedom as the spread rests on, times the
spread, divided by the root of the number of seeds.

S trainings, n utterances, R replications.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from aedo.errors import UserError
from aedo.score.bootstrap import REPLICATIONS, Comparison, Floats, Interval, percentiles, resampled
from aedo.score.wer import Pair, align, count

FEWEST_SPEAKERS = 5
"""With fewer, utterances are resampled instead of speakers."""


@dataclass(frozen=True)
class Sample:
    """The errors of one experiment's trainings on one set."""

    ids: tuple[str, ...]
    """n utterances, sorted."""
    references: tuple[str, ...]
    speakers: tuple[str, ...]
    words: Floats
    """[n] of the references."""
    errors: Floats
    """[S, n]"""

    @classmethod
    def of(cls, trainings: Sequence[Iterable[Pair]]) -> Sample:
        """From what was said and recognised, by training.

        UserError where the trainings were not scored on the same utterances, or the references have no words.
        """
        tables = [{pair.id: pair for pair in pairs} for pairs in trainings]
        ids = sorted(tables[0])
        references = tuple(" ".join(tables[0][i].ref.split()) for i in ids)
        errors = []
        for table in tables:
            if sorted(table) != ids or any(" ".join(table[i].ref.split()) != r for i, r in zip(ids, references)):
                raise UserError("the seeds were scored on different utterances or references; decode the same sets")
            errors.append([count(align(table[i].ref.split(), table[i].hyp.split())).errors for i in ids])
        words = np.array([len(reference.split()) for reference in references], np.float64)
        if not words.sum():
            raise UserError("nothing to score: the references have no words")
        speakers = tuple(tables[0][i].speaker for i in ids)
        return cls(tuple(ids), references, speakers, words, np.array(errors, np.float64))

    @cached_property
    def rates(self) -> list[float]:
        """WER in percent, by training."""
        rates: list[float] = (100.0 * self.errors.sum(1) / self.words.sum()).tolist()
        return rates

    @property
    def mean(self) -> float:
        """WER in percent, over the trainings."""
        return float(np.mean(self.rates))

    @property
    def by_speaker(self) -> bool:
        """Whether speakers are resampled; else utterances are."""
        return len(set(self.speakers)) >= FEWEST_SPEAKERS

    def units(self, values: Floats) -> Floats:
        """[n] by utterance -> sums by what is resampled."""
        if not self.by_speaker:
            return values
        _, unit = np.unique(np.array(self.speakers), return_inverse=True)
        return np.bincount(unit, values).astype(np.float64)


class Spread(NamedTuple):
    """How far a rate moves with the seed."""

    deviation: float
    """Standard deviation in percent WER."""
    freedom: int
    """Degrees of freedom it rests on; 0: nothing is known, every experiment has one training."""

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Spread:
        """Pooled over experiments: the root of the mean squared deviation from each one's own mean."""
        squares, freedom = 0.0, 0
        for sample in samples:
            squares += sum((rate - sample.mean) ** 2 for rate in sample.rates)
            freedom += len(sample.rates) - 1
        return cls(math.sqrt(squares / freedom) if freedom else 0.0, freedom)


def mean_interval(
    sample: Sample, spread: Spread, *, confidence: float = 0.95, replications: int = REPLICATIONS, seed: int = 0
) -> Interval:
    """Of the mean WER over seeds: where it would lie with other speakers and other seeds."""
    rates = _replicated(sample, sample.errors.mean(0), replications, seed)
    return percentiles(_with_seeds(rates, spread, 1 / len(sample.rates), seed), confidence)


def compare_samples(
    first: Sample,
    second: Sample,
    spread: Spread,
    *,
    confidence: float = 0.95,
    replications: int = REPLICATIONS,
    seed: int = 0,
) -> Comparison:
    """The second experiment's mean WER against the first's, both on the same resampled speakers.

    UserError where they were scored on different utterances or references.
    """
    if (first.ids, first.references) != (second.ids, second.references):
        common = len(set(first.ids) & set(second.ids))
        raise UserError(
            f"scored on different references: {len(first.ids)} and {len(second.ids)} utterances, {common} in common; "
            "decode the same sets with both"
        )
    delta = second.errors.mean(0) - first.errors.mean(0)
    share = 1 / len(first.rates) + 1 / len(second.rates)
    differences = _with_seeds(_replicated(first, delta, replications, seed), spread, share, seed)
    below, above = float(np.mean(differences <= 0)), float(np.mean(differences >= 0))
    least = 1.0 / replications  # a finite number of draws cannot show less
    return Comparison(
        second.mean - first.mean,
        percentiles(differences, confidence),
        min(1.0, 2.0 * max(min(below, above), least)),
        float(np.mean(differences < 0)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: the chance that any of those so small or smaller is mere chance.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected


def _replicated(sample: Sample, values: Floats, replications: int, seed: int) -> Floats:
    """[R] rates of `values` ([n], errors or differences of errors), widened: n units know the spread of n - 1 only."""
    units, words = sample.units(values), sample.units(sample.words)
    rates, centre = resampled(units, words, replications, seed), 100.0 * float(values.sum() / sample.words.sum())
    return centre + (rates - centre) * math.sqrt(len(units) / max(1, len(units) - 1))


def _with_seeds(rates: Floats, spread: Spread, share: float, seed: int) -> Floats:
    """With the seeds' part added; `share`: sum of 1 / S."""
    if not spread.freedom:
        return rates
    draws = np.random.default_rng([seed, 1]).standard_t(spread.freedom, len(rates))
    return rates + spread.deviation * math.sqrt(share) * draws
