"""Words of a label sequence, with their times.  U labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from aedo.data.text import Tokenizer
from aedo.model.aed import AED

NO_WORD = -1
"""The word of a label that adds nothing to the text, such as the blank between words."""


class Word(NamedTuple):
    text: str
    start: float | None
    """Seconds; None where the model has no CTC head to tell."""
    end: float | None
    confidence: float | None
    """Probability that the word is right; None where nothing was recognised but aligned."""


def words_of_labels(tokenizer: Tokenizer, labels: Sequence[int]) -> list[int]:
    """[U] the number of the word each label belongs to, counted in the words of `tokenizer.decode(labels)`.

    A label belongs to the last word of the text up to it, unless it leaves that text as it was.
    """
    found, before = [], ""
    for count in range(1, len(labels) + 1):
        text = tokenizer.decode(labels[:count])
        found.append(NO_WORD if text == before else len(text.split()) - 1)
        before = text
    return found


def samples_per_frame(model: AED) -> int:
    """Samples from one encoder frame to the next."""
    many = 1 << 24
    return round(many / int(model.encoder_frames(torch.tensor([many]))))
