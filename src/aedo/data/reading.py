"""One batch from disk: samples, speed, labels, and a word about every utterance that cannot be used.

This runs in the worker processes.  B batch, N samples, U labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aedo.augment.labels import Lexicon, SamplingConfig, draw_labels
from aedo.augment.speed import perturb
from aedo.data.audio import AudioConfig, AudioProblem, Samples, samples_of
from aedo.data.batch import Int64, padded
from aedo.data.manifest import Manifest
from aedo.data.text import Tokenizer


class BadUtterance(NamedTuple):
    """An utterance that was not used."""

    id: str
    reason: str


class Job(NamedTuple):
    """What to read for one batch; arrays over its utterances."""

    utterances: Int64
    rates: Int64
    """Rate each is resampled to; the rate of the audio itself leaves it as it is."""
    lengths: Int64
    """Samples of each after that."""
    frames: Int64
    """Encoder frames of each."""
    seeds: Int64
    """What to draw the labels of each with, where they are drawn."""


class Arrays(NamedTuple):
    """A batch as it travels between processes; see Batch."""

    ids: tuple[str, ...]
    audio: npt.NDArray[np.float32]
    audio_lengths: Int64
    labels: Int64
    label_lengths: Int64


class ReadBatch(NamedTuple):
    arrays: Arrays | None
    """None where no utterance is usable."""
    bad: tuple[BadUtterance, ...]


class _Utterance(NamedTuple):
    id: str
    samples: Samples
    labels: list[int]


class UnusableLabels(Exception):  # noqa: N818 - a finding about data, not a failure of the program
    """Labels that cannot be trained on; the message says why."""


@dataclass(frozen=True)
class Reader:
    """Reads jobs; holds all it needs, so that a worker process gets it once."""

    manifest: Manifest
    tokenizer: Tokenizer
    audio: AudioConfig
    ctc: bool
    """Labels must fit the encoder's frames."""
    ctc_eos: bool
    """CTC targets carry EOS."""
    sampling: SamplingConfig | None = None
    """How labels are drawn; None: those of the tokenizer."""

    @cached_property
    def lexicon(self) -> Lexicon | None:
        return self.tokenizer.lexicon()

    def read(self, job: Job) -> ReadBatch:
        """The usable utterances of a job, padded, and the others by name."""
        good: list[_Utterance] = []
        bad: list[BadUtterance] = []
        for index, rate, length, frames, seed in zip(*(values.tolist() for values in job)):
            read = self._read_one(index, rate, length, frames, seed)
            if isinstance(read, BadUtterance):
                bad.append(read)
            else:
                good.append(read)
        return ReadBatch(_collated(good) if good else None, tuple(bad))

    def _read_one(self, index: int, rate: int, length: int, frames: int, seed: int) -> _Utterance | BadUtterance:
        cut = self.manifest.cut(index)
        try:
            labels = self._labels(cut.supervisions[0].text or "", frames, seed)
            samples = perturb(samples_of(cut, self.audio), rate, self.audio.sample_rate, length)
        except AudioProblem as problem:
            return BadUtterance(cut.id, f"{cut.recording.sources[0].source}: {problem.reason}")
        except UnusableLabels as problem:
            return BadUtterance(cut.id, str(problem))
        return _Utterance(cut.id, samples, labels)

    def _labels(self, text: str, frames: int, seed: int) -> list[int]:
        """Labels of the text that fit the frames.  Raises UnusableLabels where the tokenizer's own do not."""
        labels = self.tokenizer.encode(text)
        self._check_labels(labels, frames)
        if self.sampling is None or self.lexicon is None:
            return labels
        drawn = draw_labels(text, self.sampling, self.lexicon, self.tokenizer.encode, seed)
        try:
            self._check_labels(drawn, frames)
        except UnusableLabels:  # more of them than the usual ones: not for this audio
            return labels
        return drawn

    def _check_labels(self, labels: list[int], frames: int) -> None:
        if not labels:
            raise UnusableLabels("text is empty")
        if frames < 1:
            raise UnusableLabels("audio is too short: no encoder frame")
        if self.ctc:
            # CTC puts a blank between equal neighbours, so each such pair takes one frame more.
            repeats = sum(a == b for a, b in pairwise(labels))
            needed = len(labels) + repeats + self.ctc_eos
            if needed > frames:
                raise UnusableLabels(f"{len(labels)} labels need {needed} CTC frames, the audio gives {frames}")


def _collated(utterances: list[_Utterance]) -> Arrays:
    return Arrays(
        ids=tuple(u.id for u in utterances),
        audio=padded([u.samples for u in utterances], np.float32),
        audio_lengths=np.array([len(u.samples) for u in utterances], dtype=np.int64),
        labels=padded([np.array(u.labels, dtype=np.int64) for u in utterances], np.int64),
        label_lengths=np.array([len(u.labels) for u in utterances], dtype=np.int64),
    )
