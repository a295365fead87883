"""A stream of samples cut where nobody speaks, into pieces that a model can take; memory is bounded by one piece.

N samples, F frames of 20 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
Levels = npt.NDArray[np.float64]

_FRAME = 0.02
_CONTEXT = 5.0
"""Seconds on either side that tell what is quiet and what is loud."""
_STEP = 0.5
"""Seconds for which the threshold stays."""
_SMOOTH = 3
_QUIET = 10
"""Frames that must be quiet together where a cut has to be: 0.2 s."""
_FAINTEST = -70.0
"""Decibels below full scale under which nothing is speech."""
_ABOVE_FLOOR = (6.0, 15.0)
"""Decibels above the noise from which on there is speech: 0.3 of the range between noise and loudest, within this."""
_JUDGED = 1.0
"""Seconds of audio without which nobody can tell speech from noise by its level: taken as speech."""
_CLICK = 0.08
"""Shorter sounds, in seconds, are no speech."""
_BELOW_TOP = 35.0
"""What is fainter than the loudest around by more decibels is no speech either: noise behind digital silence."""
_ENOUGH = 2.0
"""Seconds that tell what the noise is before or behind a moment."""
_LOUD = 15.0
"""Frames fainter than the loudest by more decibels tell nothing of whether a sound is steady."""
_STEADY = 3.0
"""Speech, where it is loud, changes its level by more decibels (by 7 and more in 1600 pieces); noise does not (1)."""
_EMPHASIS = 0.97
"""Of high frequencies, before that is judged."""


@dataclass(frozen=True)
class Cutting:
    """How a recording is cut."""

    longest: float = 30.0
    """Seconds; longer speech is cut where it is least loud, in the second half of the piece."""
    pause: float = 0.6
    """Seconds of silence that end a piece."""
    padding: float = 0.3
    """Seconds of silence left around a piece, at most half a pause."""


class Piece(NamedTuple):
    start: int
    """First sample, counted from the beginning of the recording."""
    samples: Samples
    """[N]."""

    def part(self, start: float, end: float, rate: int) -> Piece:
        """From second `start` up to `end`, counted from the piece's beginning, as far as the piece goes."""
        first = max(0, round(start * rate))
        return Piece(self.start + first, self.samples[first : round(min(end * rate, len(self.samples)))])


def speech_pieces(blocks: Iterable[Samples], rate: int, cutting: Cutting) -> Iterator[Piece]:
    """The pieces of a recording in which somebody may speak, in order and without overlap.

    What lies between them is silence or steady noise: sound no louder than its surroundings.  `blocks` are read as
    needed; no more than `cutting.longest` and ten seconds are held at a time.
    """
    window = _Window(iter(blocks), rate, cutting)
    while (piece := window.next()) is not None:
        if window.short or _varies(piece.samples, rate):
            yield piece


class _Window:
    """The part of the recording that is being looked at; its frames start at sample `start`."""

    def __init__(self, blocks: Iterator[Samples], rate: int, cutting: Cutting) -> None:
        self.blocks, self.rate, self.frame = blocks, rate, max(1, round(_FRAME * rate))
        self.longest, self.pause = self._frames(cutting.longest), self._frames(cutting.pause)
        self.padding = min(self._frames(cutting.padding), self.pause // 2)
        self.context = self._frames(_CONTEXT)
        self.samples: Samples = np.zeros(0, np.float32)
        self.past: Levels = np.zeros(0)
        self.start, self.ended = 0, False

    @property
    def short(self) -> bool:
        """Whether the recording, now read to its end, is too short to judge anything in it."""
        return self.ended and self.start + len(self.samples) < _JUDGED * self.rate

    def next(self) -> Piece | None:
        """The next piece, None at the end."""
        while True:
            self._fill()
            speech = self._speech()
            begin, end = self._first_run(speech)
            if end <= begin:  # nobody speaks
                if self.ended:
                    return None
                self._take(len(speech) - self.context)  # what comes may still change how the last frames are judged
            elif begin > 0:
                self._take(begin)
            elif end > self.longest:
                return self._take(quietest(self._levels()[: self.longest]))
            else:
                loud = speech[:end].sum() >= self._frames(_CLICK)
                piece = self._take(end)
                if loud:
                    return piece

    def _first_run(self, speech: npt.NDArray[np.bool_]) -> tuple[int, int]:
        """Frames of the first run of speech up to the next pause, padding included."""
        loud = np.flatnonzero(speech)
        if not len(loud):
            return 0, 0
        gaps = np.flatnonzero(np.diff(loud) > self.pause)
        last = int(loud[gaps[0]] if len(gaps) else loud[-1]) + 1
        return max(0, int(loud[0]) - self.padding), min(last + self.padding, len(speech))

    def _take(self, frames: int) -> Piece:
        """Remove frames from the front."""
        self.past = np.concatenate([self.past, self._levels()[:frames]])[-self.context :]
        count = min(frames * self.frame, len(self.samples))
        piece = Piece(self.start, self.samples[:count])
        self.samples, self.start = self.samples[count:].copy(), self.start + count
        return piece

    def _fill(self) -> None:
        """Read until a longest piece, the pause behind it and what tells its level are there."""
        wanted = (self.longest + 2 * self.pause + 2 * self.context) * self.frame
        blocks, there = [self.samples], len(self.samples)
        while there < wanted and not self.ended:
            block = next(self.blocks, None)
            if block is None:
                self.ended = True
            else:
                blocks.append(block)
                there += len(block)
        self.samples = np.concatenate(blocks) if len(blocks) > 1 else self.samples

    def _levels(self) -> Levels:
        return levels(self.samples, self.frame)

    def _speech(self) -> npt.NDArray[np.bool_]:
        """[F] whether each frame is loud enough to be speech."""
        whole = np.concatenate([self.past, self._levels()])
        if len(whole) * _FRAME < _JUDGED and self.ended:
            return (whole > _FAINTEST)[len(self.past) :]
        smooth = _smoothed(whole)
        return (smooth > _thresholds(smooth, self.context))[len(self.past) :]

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds / _FRAME))


def levels(samples: Samples, frame: int) -> Levels:
    """[F] decibels below full scale of each frame, the last of which may be shorter."""
    if not len(samples):
        return np.zeros(0)
    starts = np.arange(0, len(samples), frame)
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts) / np.diff(np.append(starts, len(samples)))
    return np.asarray(10 * np.log10(power + 1e-10))


def quietest(sound: Levels) -> int:
    """The frame in the middle of the quietest 0.2 s in the second half of these frames."""
    first = len(sound) // 2
    power = np.convolve(10 ** (sound[first:] / 10), np.ones(_QUIET), mode="same")
    return max(1, first + int(np.argmin(power)))


def _thresholds(sound: Levels, context: int) -> Levels:
    """[F] levels above which there is speech, by the quietest tenth before or behind and the loudest frame around.

    The noisier side counts: noise that sets in is not speech, and speech has quiet moments on both sides.
    """
    step = round(_STEP / _FRAME)
    found = np.empty(len(sound))
    for start in range(0, len(sound), step):
        around = sound[max(0, start - context) : start + step + context]
        sides = [
            side
            for side in (sound[max(0, start - context) : start], sound[start : start + context])
            if len(side) * _FRAME >= _ENOUGH
        ]
        floor, top = max(float(np.percentile(side, 10)) for side in sides or [around]), float(around.max())
        found[start : start + step] = max(floor + np.clip(0.3 * (top - floor), *_ABOVE_FLOOR), top - _BELOW_TOP)
    return np.maximum(found, _FAINTEST)


def _smoothed(sound: Levels) -> Levels:
    edges = np.pad(sound, _SMOOTH // 2, mode="edge") if len(sound) else sound
    return np.convolve(edges, np.ones(_SMOOTH) / _SMOOTH, mode="valid") if len(sound) else sound


def _varies(samples: Samples, rate: int) -> bool:
    """Whether the level of a piece changes, where it is loud, as that of speech does.

    Low frequencies count for less: a rumble's level comes and goes from frame to frame.
    """
    emphasized = samples.copy()
    emphasized[1:] -= _EMPHASIS * samples[:-1]
    sound = _smoothed(levels(emphasized, max(1, round(_FRAME * rate))))
    if not len(sound):
        return False
    loudest = np.percentile(sound, 98)
    return bool(loudest - np.percentile(sound[sound > loudest - _LOUD], 10) > _STEADY)
