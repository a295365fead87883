"""How well a language model foresees a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from aedo.lm.sentences import Sentences
from aedo.model.labels import Labels

BATCH = 8192
"""Labels scored at once."""


class Scored(Protocol):
    def log_probs(self, labels: Labels) -> Tensor:
        """[B] of whole sentences, given with EOS."""
        ...


@dataclass(frozen=True)
class Perplexity:
    """Of a text; the ends of its sentences count as a label and as a word each."""

    log_prob: float
    labels: int
    words: int
    sentences: int

    @property
    def per_label(self) -> float:
        return exponential(-self.log_prob / self.labels)

    @property
    def per_word(self) -> float:
        """Of the same text: comparable between different labels."""
        return exponential(-self.log_prob / self.words)

    def line(self) -> str:
        return (
            f"perplexity {self.per_label:.3f} per label, {self.per_word:.2f} per word "
            f"({self.sentences:,} sentences, {self.words:,} words and {self.labels:,} labels with the ends)"
        )

    def record(self) -> dict[str, float]:
        """For lm.json."""
        return {
            "per_label": round(self.per_label, 5),
            "per_word": round(self.per_word, 4),
            "labels": self.labels,
            "words": self.words,
            "sentences": self.sentences,
        }


def exponential(value: float) -> float:
    """e to that power; infinity where no float is as large."""
    return math.exp(value) if value < 709 else math.inf


def perplexity_of(
    model: Scored, sentences: Sentences, progress: Callable[[int], None] = lambda sentences: None
) -> Perplexity:
    total = 0.0
    for which in by_length(sentences, BATCH):
        total += float(model.log_probs(sentences.padded(which)).double().sum())
        progress(len(which))
    count = len(sentences)
    labels, words = int(sentences.lengths.sum()) + count, int(sentences.words.sum()) + count
    return Perplexity(total, labels, words, count)


def by_length(sentences: Sentences, most: int) -> Iterator[npt.NDArray[np.int64]]:
    """Batches of sentences of similar lengths, the short ones first: at most so many labels each, padding included."""
    order = np.argsort(sentences.lengths, kind="stable")
    yield from batches(order, sentences.lengths[order] + 1, most)


def batches(order: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], most: int) -> Iterator[npt.NDArray[np.int64]]:
    """Cut `order` where a batch, padded to its longest (lengths: of each in that order), would be too large."""
    start, longest = 0, 0
    for i, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if i > start and longest * (i + 1 - start) > most:
            yield order[start:i]
            start, longest = i, length
    if start < len(order):
        yield order[start:]
