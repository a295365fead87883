"""Texts laid along the recordings of them.  U labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from aedo.data.audio import Samples
from aedo.data.text import UNKNOWN, Tokenizer
from aedo.errors import UserError
from aedo.search.alignment import align, frames_needed
from aedo.search.evidence import padded, spoken_words
from aedo.search.formats import AlignedText
from aedo.search.precision import computing
from aedo.search.recognize import Recognizer
from aedo.search.words import Word, samples_per_frame


class Utterance(NamedTuple):
    id: str
    samples: Samples
    """[N], prepared as the model expects it."""
    labels: list[int]


class CannotAlign(Exception):  # noqa: N818 - a finding about data, not a failure of the program
    """A text that cannot be laid along its audio; the message says why, without the utterance's name."""


def labels_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """The labels of a text; CannotAlign where there is no word, or one with characters the tokenizer does not know."""
    labels = tokenizer.encode(text)
    if not labels:
        raise CannotAlign("text is empty")
    unknown = getattr(tokenizer, "unknown", UNKNOWN)
    if unknown in labels:
        words = [word for word in text.split() if unknown in tokenizer.encode(word)]
        raise CannotAlign(
            f"the tokenizer does not know all of {' '.join(words[:5]) or text!r}; write the text as that of the "
            "training, or give --normalize (such as unicode,nopunct,upper)"
        )
    return labels


def check_fit(recognizer: Recognizer, utterance: Utterance, rate: int) -> None:
    """Raises CannotAlign where the labels need more frames than the audio gives."""
    labels = padded([utterance.labels])
    needed = int(frames_needed(labels.ids, labels.lengths))
    frames = int(recognizer.model.encoder_frames(torch.tensor([len(utterance.samples)])))
    if needed > frames:
        raise CannotAlign(
            f"the text does not fit: {len(utterance.labels)} labels need {needed} frames, the audio of "
            f"{len(utterance.samples) / rate:.2f} s gives {frames}; is it the text of this audio?"
        )


@torch.inference_mode()
def align_texts(recognizer: Recognizer, utterances: Sequence[Utterance], rate: int) -> list[AlignedText]:
    """The words of every utterance with their times, all utterances as one batch; they fit (`check_fit`).

    rate: samples a second.  Raises UserError where the model has no CTC head.
    """
    model = recognizer.model
    if not model.ctc_layers:
        raise UserError("this model has no CTC head to align with; align with a run trained with one")
    batch = recognizer.encode([u.samples for u in utterances])
    if batch is None or len(batch.audible) < len(utterances):
        raise ValueError("an utterance gives no encoder frame")
    labels = padded([u.labels for u in utterances])
    with computing(recognizer.precision, recognizer.device):
        log_probs = model.ctc_log_probs(batch.encoded)
    found = align(log_probs, batch.encoded.lengths, labels.ids, labels.lengths)
    means = (found.log_probs / batch.encoded.lengths).tolist()
    frame = samples_per_frame(model) / rate
    aligned = []
    for utterance, words, mean in zip(
        utterances, spoken_words(recognizer.tokenizer, labels, found, None), means, strict=True
    ):
        seconds = len(utterance.samples) / rate
        placed = tuple(
            Word(word.text, word.start * frame, min(word.stop * frame, seconds), None)
            for word in words
            if word.start is not None and word.stop is not None
        )
        aligned.append(AlignedText(utterance.id, placed, seconds, mean))
    return aligned
