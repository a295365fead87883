"""When words of a stream appear, against when they were said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from aedo.data.audio import Samples
from aedo.search.alignment import align
from aedo.search.evidence import padded, spoken_words
from aedo.search.precision import computing
from aedo.search.recognize import Recognizer
from aedo.search.words import samples_per_frame
from aedo.stream.session import Stream, StreamResult

PIECE = 0.1
"""Seconds of audio that arrive at once."""


class Appearance(NamedTuple):
    """Of one word; seconds since the stream's first sample."""

    text: str
    shown: float
    """From when on it was shown, and never changed."""
    final: float
    """From when on it was final."""


@dataclass
class Viewer:
    """Somebody who reads along."""

    words: list[Appearance] = field(default_factory=list)
    """The final ones."""
    _shown: list[tuple[str, float]] = field(default_factory=list)  # words in view, and since when without a change

    def see(self, result: StreamResult, clock: float) -> None:
        before = len(self.words)
        said = [*(word.text for word in result.final), *result.partial.split()]
        old = self._shown[before:]
        now = [old[i] if i < len(old) and old[i][0] == text else (text, clock) for i, text in enumerate(said)]
        self._shown[before:] = now
        self.words += [Appearance(text, since, clock) for text, since in now[: len(result.final)]]


class Played(NamedTuple):
    """A stream that was fed at the speed of sound, on a clock that only counts audio and computing."""

    words: list[Appearance]
    computing: list[float]
    """Seconds each piece took."""
    seconds: float


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds of computing: of one CPU thread alone, which other work disturbs little, else of the wall."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def play(stream: Stream, samples: Samples) -> Played:
    """Feed a fresh stream piece by piece; a piece is there when its last sample is, and waits for the one before."""
    rate = stream.engine.rate
    viewer, times, free, now = Viewer(), list[float](), 0.0, clock(stream.engine.device)
    step = round(PIECE * rate)
    for start in range(0, len(samples) + step, step):
        piece = samples[start : start + step]
        arrived = min(start + step, len(samples)) / rate
        begin = now()
        results = stream.push(piece) if len(piece) else stream.finish()
        times.append(now() - begin)
        free = max(arrived, free) + times[-1]
        for result in results:
            viewer.see(result, free)
    return Played(viewer.words, times, len(samples) / rate)


@torch.inference_mode()
def ends_of_words(recognizer: Recognizer, samples: Samples, rate: int, words: Sequence[str]) -> list[float] | None:
    """Seconds at which words end in the audio, by the best path of the last CTC head; None where they do not fit."""
    batch, tokenizer = recognizer.encode([samples]), recognizer.tokenizer
    if batch is None or not words or not recognizer.model.ctc_layers:
        return None
    labels = padded([tokenizer.encode(" ".join(words))])
    with computing(recognizer.precision, recognizer.device):
        log_probs = recognizer.model.ctc_log_probs(batch.encoded)
        alignment = align(log_probs, batch.encoded.lengths, labels.ids, labels.lengths)
    (spoken,) = spoken_words(tokenizer, labels, alignment, None)
    stops = [word.stop for word in spoken]
    if [word.text for word in spoken] != list(words) or any(stop is None for stop in stops):
        return None
    seconds = samples_per_frame(recognizer.model) / rate
    return [float(stop or 0) * seconds for stop in stops]


def delays(recognizer: Recognizer, stream: Stream, samples: Samples) -> tuple[Played, list[tuple[float, float]]]:
    """A played stream, and of each of its words how long after its end it was shown and became final.

    Words that only the end of the audio made final are left out: a stream goes on.
    """
    stream.reset()
    played = play(stream, samples)
    ends = ends_of_words(recognizer, samples, stream.engine.rate, [word.text for word in played.words])
    if ends is None:
        return played, []
    return played, [
        (word.shown - end, word.final - end)
        for word, end in zip(played.words, ends, strict=True)
        if word.final < played.seconds
    ]


def joined(utterances: Iterator[Samples], rate: int, seconds: float) -> Iterator[Samples]:
    """Utterances one behind the other, in stretches of at least so many seconds; what is left over is one more."""
    group: list[Samples] = []
    for samples in utterances:
        group.append(samples)
        if sum(map(len, group)) >= seconds * rate:
            yield np.concatenate(group)
            group = []
    if group:
        yield np.concatenate(group)
