"""The n-grams of a model as tables: contexts, what follows each of them, and to which context it leads.

S contexts (0: the empty one), E n-grams of at least two words, V labels.  A context is a state of the model: two
histories in the same one have the same future.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aedo.lm.arpa import LN10, Float64, Int64, NGrams
from aedo.lm.symbols import Symbols

UNSEEN = -100.0 * LN10
"""Of a label that the model does not know, without a probability for unknown words."""


class IncompleteError(ValueError):
    """N-grams that do not make a model."""


class Tables(NamedTuple):
    unigrams: Float64
    """[V] log probability of each label after the empty context."""
    after: Int64
    """[V] context after that label alone."""
    backoffs: Float64
    """[S] what a label that a context knows nothing of costs, besides its score after the shorter one."""
    shorter: Int64
    """[S] the longest context that the context ends with."""
    first: Int64
    """[S + 1] n-grams of each context: from `first` of it to that of the next."""
    labels: Int64
    """[E] last words, ascending within a context."""
    scores: Float64
    """[E] log probabilities."""
    targets: Int64
    """[E] context after the n-gram."""
    begin: int
    """Context at the begin of a sentence."""
    order: int


def tables_of(orders: Sequence[NGrams], symbols: Symbols) -> Tables:
    """Raises IncompleteError where an n-gram has no prefix, or stands there twice."""
    found = _Levels(symbols.size + 2)
    for grams in orders:
        found.add(grams)
    rows = found.rows()
    unigrams, after = _unigrams(orders[0], found, symbols)
    sources, labels, scores, targets = [], [], [], []
    for order, grams in enumerate(found.sorted[1:], 2):
        usable = grams.words[:, -1] < symbols.size  # the begin of a sentence follows nothing
        prefixes = found.find(grams.words[usable, :-1])
        sources.append(rows[order - 2][prefixes])
        labels.append(grams.words[usable, -1])
        scores.append(grams.log_probs[usable])
        states = found.states[order - 1] if order <= len(found.states) else found.ending(grams.words)
        targets.append(states[usable])
    source = np.concatenate([np.empty(0, np.int64), *sources])
    label = np.concatenate([np.empty(0, np.int64), *labels])
    order_of = np.lexsort((label, source))
    first = np.searchsorted(source[order_of], np.arange(len(found.backoffs) + 1))
    begin = found.ending(np.array([[0, symbols.begin]]))[0]
    return Tables(
        unigrams,
        after,
        found.backoffs,
        found.shorter,
        first.astype(np.int64),
        label[order_of],
        np.concatenate([np.empty(0), *scores])[order_of],
        np.concatenate([np.empty(0, np.int64), *targets])[order_of],
        int(begin),
        len(orders),
    )


def _unigrams(grams: NGrams, found: _Levels, symbols: Symbols) -> tuple[Float64, Int64]:
    by_word = np.full(symbols.size + 2, np.nan)
    by_word[grams.words[:, 0]] = grams.log_probs
    unknown = by_word[symbols.no_label if symbols.unknown is None else symbols.unknown]
    log_probs = by_word[: symbols.size]
    log_probs = np.where(np.isnan(log_probs), UNSEEN if np.isnan(unknown) else unknown, log_probs)
    words = np.arange(symbols.size)
    return log_probs, found.ending(np.stack([np.zeros_like(words), words], 1))


class _Levels:
    """N-grams by order, sorted so that they can be found by binary search; their contexts."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.keys: list[Int64] = []
        """By order: number of the prefix in its own order and last word, as one number, ascending."""
        self.sorted: list[NGrams] = []
        self.parents: list[Int64] = []
        self.states: list[Int64] = []
        """By order: the context that a history ending with the n-gram is in."""
        self.backoffs: Float64 = np.zeros(1)
        self.shorter: Int64 = np.zeros(1, np.int64)

    def add(self, grams: NGrams) -> None:
        """The next order."""
        prefixes = self.find(grams.words[:, :-1])
        if (prefixes < 0).any():
            raise IncompleteError(f"{int((prefixes < 0).sum()):,} {len(self.keys) + 1}-grams have no prefix")
        keys = prefixes * self.words + grams.words[:, -1]
        order = np.argsort(keys, kind="stable")
        self.keys.append(keys[order])
        if (np.diff(self.keys[-1]) == 0).any():
            raise IncompleteError(f"some of the {len(self.keys)}-grams stand there twice")
        self.sorted.append(NGrams(grams.words[order], grams.log_probs[order], grams.backoffs[order]))
        self.parents.append(prefixes[order])

    def find(self, words: Int64) -> Int64:
        """[G, n] -> [G] numbers within their order, -1 where there is no such n-gram; those of no words are 0."""
        found = np.zeros(len(words), np.int64)
        for keys, column in zip(self.keys, words.T):
            wanted = found * self.words + column
            at = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
            known = keys[at] == wanted if len(keys) else np.zeros(len(words), bool)
            found = np.where(known & (found >= 0), at, -1)
        return found

    def rows(self) -> list[Int64]:
        """By order below the highest: the context of each n-gram, -1 where it is none, that is where nothing is known
        to follow it."""
        rows = []
        for order, grams in enumerate(self.sorted[:-1], 1):
            useful: npt.NDArray[np.bool_] = grams.backoffs != 0.0
            useful = useful | (np.bincount(self.parents[order], minlength=len(grams.words)) > 0)
            row = np.where(useful, len(self.backoffs) + np.cumsum(useful) - 1, -1)
            shorter = self.ending(grams.words)
            self.backoffs = np.concatenate([self.backoffs, grams.backoffs[useful]])
            self.shorter = np.concatenate([self.shorter, shorter[useful]])
            self.states.append(np.where(useful, row, shorter))
            rows.append(row)
        return rows

    def ending(self, words: Int64) -> Int64:
        """[G, n] -> [G] the longest context of fewer than n words that these end with."""
        state = np.zeros(len(words), np.int64)
        open_ = np.arange(len(words))
        for order in range(min(words.shape[1] - 1, len(self.states)), 0, -1):
            found = self.find(words[open_, -order:])
            state[open_[found >= 0]] = self.states[order - 1][found[found >= 0]]
            open_ = open_[found < 0]
        return state
