"""Labels drawn anew for every reading of a text: one word has many segmentations, and training sees several.

Source: longest match with deviations: Zeyer's SamplingBytePairEncoding (RETURNN); the unigram model: Kudo 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from aedo.config import Part


class LongestMatchSampling(Part):
    kind: Literal["longest_match"] = "longest_match"
    deviate: float = Field(0.01, gt=0, le=1)
    """Probability that the longest piece which fits is passed over for the next shorter one, at every decision."""


class UnigramSampling(Part):
    kind: Literal["unigram"] = "unigram"
    alpha: float = Field(0.7, ge=0)
    """Exponent of the segmentations' probabilities: 0 draws among all alike, large values take the likeliest."""


SamplingConfig = Annotated[LongestMatchSampling | UnigramSampling, Field(discriminator="kind")]


class Lexicon(NamedTuple):
    """The pieces of a vocabulary, as they spell words that carry a mark at one end."""

    pieces: Mapping[str, int]
    scores: Mapping[str, float]
    """Log probabilities of the pieces, where the vocabulary is a unigram model."""
    longest: int
    """Characters of the longest piece."""
    before: str = ""
    """The mark in front of a word."""
    behind: str = ""
    """The mark behind a word."""


def draw_labels(
    text: str, config: SamplingConfig, lexicon: Lexicon, encode: Callable[[str], list[int]], seed: int
) -> list[int]:
    """Labels of `text`; equal seeds, equal labels.  A word that the pieces cannot spell has those of `encode`."""
    state = np.random.default_rng(seed)
    labels: list[int] = []
    for word in text.split():
        marked = lexicon.before + word + lexicon.behind
        if isinstance(config, UnigramSampling):
            drawn = likely_pieces(marked, lexicon, config.alpha, state)
        else:
            drawn = long_pieces(marked, lexicon, config.deviate, state)
        labels += encode(word) if drawn is None else drawn
    return labels


def long_pieces(word: str, lexicon: Lexicon, deviate: float, state: np.random.Generator) -> list[int] | None:
    """Depth first through the pieces that fit, the longest first but for chance; None where no way leads to the end."""

    def ends_from(start: int) -> list[int]:
        furthest = min(len(word), start + lexicon.longest)
        return [end for end in range(furthest, start, -1) if word[start:end] in lexicon.pieces]

    edges, untried = [0], [ends_from(0)]  # of the pieces so far, and what else could stand behind each edge
    dead: set[int] = set()
    while edges and edges[-1] < len(word):
        if not untried[-1]:
            dead.add(edges.pop())
            untried.pop()
            continue
        place = 0
        while place < len(untried[-1]) - 1 and state.random() < deviate:
            place += 1
        end = untried[-1].pop(place)
        if end not in dead:
            edges.append(end)
            untried.append(ends_from(end))
    return [lexicon.pieces[word[a:b]] for a, b in pairwise(edges)] if edges else None


def likely_pieces(word: str, lexicon: Lexicon, alpha: float, state: np.random.Generator) -> list[int] | None:
    """A segmentation drawn by its probability to the power of `alpha`: sums forward, pieces drawn backward."""
    total = [0.0] + [-math.inf] * len(word)  # log of the summed scores of all ways to each place
    ways: list[list[tuple[int, float]]] = [[] for _ in total]  # to each place: from where, and the log of its sum
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - lexicon.longest), end):
            score = lexicon.scores.get(word[start:end])
            if score is not None and total[start] > -math.inf:
                ways[end].append((start, total[start] + alpha * score))
        if ways[end]:
            total[end] = float(np.logaddexp.reduce([value for _, value in ways[end]]))
    if total[-1] == -math.inf:
        return None
    labels, end = list[int](), len(word)
    while end:
        starts, values = zip(*ways[end])
        start = int(state.choice(starts, p=np.exp(np.array(values) - total[end])))
        labels.append(lexicon.pieces[word[start:end]])
        end = start
    return labels[::-1]
