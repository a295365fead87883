"""Estimating n-gram models: interpolated Kneser-Ney smoothing with three discounts an order.

G n-grams of an order, V labels; V is the begin of a sentence.  Source: Chen and Goodman 1998, with the conventions of
KenLM's lmplz: the counts of lower orders are numbers of different words before, but those of n-grams at the begin of a
sentence are as they are; labels never seen share in the uniform distribution below the unigrams.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from aedo.conventions import EOS
from aedo.lm.arpa import Float64, Int64, NGrams
from aedo.lm.sentences import Sentences

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the text is too small, or too artificial, to tell."""
_NEVER = -99.0 * math.log(10.0)


class Estimate(NamedTuple):
    orders: list[NGrams]
    discounts: list[tuple[float, float, float]]
    """By order: of n-grams counted once, twice, and more often."""
    fallen_back: list[int]
    """Orders whose discounts could not be told from the counts."""


class _Level(NamedTuple):
    """The n-grams of one order that a text holds."""

    words: Int64
    """[G, n]."""
    prefixes: Int64
    """[G] numbers of the words before the last in the order below."""
    suffixes: Int64
    """[G] and of those behind the first."""
    counts: Int64
    """[G] as they are; the begin of a sentence alone has none."""
    at_begin: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    """[G] whether they begin with the begin of a sentence."""


def estimate(sentences: Sentences, vocabulary: int, order: int) -> Estimate:
    """A model of that order, one n-gram at least.  Memory: about 100 bytes a label of the text."""
    levels = list(_levels(sentences, vocabulary, order))
    orders: list[NGrams] = []
    discounts, fallen_back = [], []
    shorter = np.full(vocabulary + 1, 1.0 / vocabulary)
    probabilities: list[Float64] = []
    backoffs: list[Float64] = []
    for number, level in enumerate(levels, 1):
        adjusted = level.counts if number == order else _adjusted(level, levels[number])
        discount = _discounts(adjusted)
        if discount is None:
            fallen_back.append(number)
        discounts.append(discount or FALLBACK)
        taken = np.array([0.0, *discounts[-1]])[adjusted.clip(max=3)]
        contexts = len(levels[number - 2].words) if number > 1 else 1
        totals = np.bincount(level.prefixes, adjusted, contexts)
        weights = np.bincount(level.prefixes, taken, contexts) / np.where(totals, totals, 1.0)
        below = shorter if number == 1 else probabilities[-1][level.suffixes]
        own = (adjusted - taken) / np.where(totals, totals, 1.0)[level.prefixes]
        probabilities.append(own + weights[level.prefixes] * below)
        if number > 1:
            backoffs.append(np.where(totals > 0, weights, 1.0))
    backoffs.append(np.ones(len(levels[-1].words)))
    for level, probability, backoff in zip(levels, probabilities, backoffs):
        orders.append(NGrams(level.words, _log(probability), _log(backoff)))
    orders[0].log_probs[vocabulary] = 0.0  # the begin of a sentence is given
    return Estimate(orders, discounts, fallen_back)


def _levels(sentences: Sentences, vocabulary: int, order: int) -> Iterator[_Level]:
    base = vocabulary + 1
    words, position = _with_ends(sentences, begin=vocabulary)
    counts = np.bincount(words, minlength=base)
    counts[vocabulary] = 0
    nothing = np.zeros(base, np.int64)
    numbers = words  # of the n-gram that ends there, in its order
    level = _Level(np.arange(base)[:, None], nothing, nothing, counts, np.arange(base) == vocabulary)
    yield level
    for n in range(2, order + 1):
        ends = (position >= n - 1).nonzero()[0]
        keys = numbers[ends - 1] * base + words[ends]
        found, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        prefixes = found // base
        level = _Level(
            np.concatenate([level.words[prefixes], (found % base)[:, None]], 1),
            prefixes,
            numbers[ends[first]],
            counts,
            position[ends[first]] == n - 1,
        )
        numbers = np.full(len(words), -1)
        numbers[ends] = inverse
        yield level


def _with_ends(sentences: Sentences, begin: int) -> tuple[Int64, Int64]:
    """All labels with begin and end of each sentence, and the position of each in its sentence."""
    lengths = sentences.lengths + 2
    firsts = np.cumsum(lengths) - lengths
    position = np.arange(int(lengths.sum())) - np.repeat(firsts, lengths)
    words = np.full(len(position), EOS, np.int64)
    words[firsts] = begin
    words[(position > 0) & (position < np.repeat(lengths, lengths) - 1)] = sentences.labels
    return words, position


def _adjusted(level: _Level, longer: _Level) -> Int64:
    """[G] how many different words stand before each n-gram; at the begin of a sentence, how often it does."""
    before = np.bincount(longer.suffixes, minlength=len(level.words))
    return np.where(level.at_begin, level.counts, before)


def _discounts(counts: Int64) -> tuple[float, float, float] | None:
    """None where n-grams counted once, twice or three times are missing, or the formula leaves its range."""
    ones, twos, threes, fours = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if not (ones and twos and threes):
        return None
    y = ones / (ones + 2 * twos)
    found = (1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes)
    return found if all(0 <= value <= k for k, value in enumerate(found, 1)) else None


def _log(values: Float64) -> Float64:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), _NEVER)
