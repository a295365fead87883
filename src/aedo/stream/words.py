"""Which words of a beam are final.  U labels.

A word is final when every hypothesis of the beam has it in this place, with the same labels, and one of its own labels
behind shows that it is complete.  Whatever the search does later continues one of these hypotheses, so a final word
never changes.  At the end of an utterance the best hypothesis settles the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aedo.data.text import Tokenizer
from aedo.search.words import NO_WORD, words_of_labels


class Span(NamedTuple):
    """A word within labels."""

    text: str
    first: int
    """Its first label."""
    last: int
    """Its last label."""


def agreed(hypotheses: Sequence[Sequence[int]]) -> int:
    """How many labels from the start on are the same in all hypotheses."""
    if not hypotheses:
        return 0
    first, *others = hypotheses
    common = len(first)
    for other in others:
        pairs = zip(first[:common], other, strict=False)
        common = next((i for i, (a, b) in enumerate(pairs) if a != b), min(common, len(other)))
    return common


def complete(tokenizer: Tokenizer, labels: Sequence[int]) -> int:
    """How many of the labels belong to words that no further label can change.

    The last word may go on, unless a label that adds nothing, such as the blank between words, stands behind it.
    """
    words = words_of_labels(tokenizer, labels)
    last = max(words, default=NO_WORD)
    if last == NO_WORD:
        return 0
    return len(words) if words[-1] == NO_WORD else words.index(last)


def spans(tokenizer: Tokenizer, labels: Sequence[int]) -> list[Span]:
    """The words of labels, and where they stand."""
    words, texts = words_of_labels(tokenizer, labels), tokenizer.decode(labels).split()
    places = [[i for i, word in enumerate(words) if word == number] for number in range(len(texts))]
    # A label may bring several words at once; those in front of its last one stand where it does.
    found: list[Span] = []
    for text, own in zip(reversed(texts), reversed(places), strict=True):
        behind = found[-1].first if found else 0
        found.append(Span(text, own[0], own[-1]) if own else Span(text, behind, behind))
    return found[::-1]
