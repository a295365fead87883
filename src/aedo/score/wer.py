"""Word error rate: alignment, counts by utterance and speaker, confusions.

The alignment has the fewest errors (all three kinds cost 1).  With `sclite` substitutions cost 4, insertions and
deletions 3, as in NIST's tool: rare ties move, and it never finds fewer errors.  Words are what blanks separate;
nothing is normalised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import kaldialign

from aedo.errors import UserError
from aedo.score.bootstrap import Comparison, Interval, compare_systems, error_rate_interval

GAP = ""
"""Stands in an alignment where one side has no word."""


class Pair(NamedTuple):
    id: str
    speaker: str
    ref: str
    hyp: str


class Counts(NamedTuple):
    words: int = 0
    """Of the references."""
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Percent; infinite where there are errors but no reference words."""
        if self.words:
            return 100.0 * self.errors / self.words
        return float("inf") if self.errors else 0.0


@dataclass(frozen=True)
class Confusion:
    """A kind of error: GAP as `ref` is an insertion, GAP as `hyp` a deletion."""

    ref: str
    hyp: str
    count: int


@dataclass(frozen=True)
class Aligned:
    """One scored utterance."""

    pair: Pair
    alignment: tuple[tuple[str, str], ...]
    """(reference word, recognised word), GAP where one side has none."""
    counts: Counts


@dataclass(frozen=True)
class Score:
    utterances: tuple[Aligned, ...]
    """In the order given."""
    total: Counts
    interval: Interval
    """Of the WER, in percent."""

    @property
    def wer(self) -> float:
        """Percent."""
        return self.total.wer

    @cached_property
    def speakers(self) -> dict[str, Counts]:
        """Counts by speaker, in sorted order."""
        table: dict[str, list[Counts]] = {}
        for utterance in self.utterances:
            table.setdefault(utterance.pair.speaker, []).append(utterance.counts)
        return {speaker: _sum(table[speaker]) for speaker in sorted(table)}

    @cached_property
    def sentence_errors(self) -> int:
        """Utterances with at least one error."""
        return sum(u.counts.errors > 0 for u in self.utterances)

    def confusions(self, most: int | None = None) -> list[Confusion]:
        """Errors by kind, the most frequent first, then alphabetically."""
        kinds = Counter((ref, hyp) for u in self.utterances for ref, hyp in u.alignment if ref != hyp)
        ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
        return [Confusion(ref, hyp, count) for (ref, hyp), count in ordered[:most]]

    def worst(self, most: int | None = None) -> list[Aligned]:
        """Utterances with errors, the most errors first, then the higher rate, then by id."""
        wrong = [u for u in self.utterances if u.counts.errors]
        return sorted(wrong, key=lambda u: (-u.counts.errors, -u.counts.wer, u.pair.id))[:most]

    def as_json(self) -> dict[str, float | int]:
        """The totals as they stand in SET.json; rates in percent."""
        return {
            "words": self.total.words,
            "substitutions": self.total.substitutions,
            "deletions": self.total.deletions,
            "insertions": self.total.insertions,
            "wer": self.wer,
            "wer_low": self.interval.low,
            "wer_high": self.interval.high,
            "confidence": self.interval.confidence,
            "utterances": len(self.utterances),
            "sentence_errors": self.sentence_errors,
        }


def align(ref: Sequence[str], hyp: Sequence[str], *, sclite: bool = False) -> tuple[tuple[str, str], ...]:
    """Pairs (reference word, recognised word) of the cheapest alignment, GAP where one side has none."""
    return tuple((str(a), str(b)) for a, b in kaldialign.align(list(ref), list(hyp), GAP, sclite_mode=sclite))


def count(alignment: Iterable[tuple[str, str]]) -> Counts:
    words = substitutions = deletions = insertions = 0
    for ref, hyp in alignment:
        words += ref != GAP
        insertions += ref == GAP
        deletions += hyp == GAP
        substitutions += GAP not in (ref, hyp) and ref != hyp
    return Counts(words, substitutions, deletions, insertions)


def score(pairs: Iterable[Pair], *, sclite: bool = False, confidence: float = 0.95, seed: int = 0) -> Score:
    """Align and count all utterances; the interval is a bootstrap over utterances, the same for the same `seed`.

    Raises UserError when the references have no words at all, or when an id comes twice.
    """
    utterances = []
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise UserError(f"utterance {pair.id} comes twice; every utterance is scored once")
        seen.add(pair.id)
        alignment = align(pair.ref.split(), pair.hyp.split(), sclite=sclite)
        utterances.append(Aligned(pair, alignment, count(alignment)))
    total = _sum(u.counts for u in utterances)
    if not total.words:
        raise UserError("nothing to score: the references have no words")
    interval = error_rate_interval(
        [u.counts.errors for u in utterances], [u.counts.words for u in utterances], confidence=confidence, seed=seed
    )
    return Score(tuple(utterances), total, interval)


def compare(first: Score, second: Score, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Paired significance of the difference between two systems on the same utterances.

    Raises UserError when the two were scored on other utterances or other references.
    """
    by_id = {u.pair.id: u for u in second.utterances}
    matched = []
    for utterance in first.utterances:
        partner = by_id.get(utterance.pair.id)
        if partner is not None and partner.pair.ref.split() == utterance.pair.ref.split():
            matched.append((utterance.counts, partner.counts))
    if not len(matched) == len(first.utterances) == len(second.utterances):
        raise UserError(
            f"the two systems were scored on different references: {len(first.utterances)} and "
            f"{len(second.utterances)} utterances, {len(matched)} in common; decode the same sets with both"
        )
    return compare_systems(
        [a.errors for a, _ in matched],
        [b.errors for _, b in matched],
        [a.words for a, _ in matched],
        confidence=confidence,
        seed=seed,
    )


def _sum(all_counts: Iterable[Counts]) -> Counts:
    columns = zip(*([0, 0, 0, 0], *all_counts), strict=True)
    return Counts(*(sum(column) for column in columns))
