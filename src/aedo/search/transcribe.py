"""A whole audio file to text, long ones in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aedo.data.audio import SILENCE, AudioConfig, peak_normalized, read_audio
from aedo.search.pieces import pieces
from aedo.search.recognize import Recognizer


@dataclass(frozen=True)
class Said:
    start: float
    """Seconds."""
    end: float
    text: str
    score: float


@dataclass(frozen=True)
class Transcript:
    pieces: tuple[Said, ...]
    seconds: float

    @property
    def text(self) -> str:
        return " ".join(piece.text for piece in self.pieces if piece.text)


def transcribe_file(recognizer: Recognizer, path: Path, audio: AudioConfig, *, longest: float) -> Transcript:
    """The words in a file of any format, rate and channel count; pieces of at most `longest` seconds.

    Every piece is peak-normalised on its own where the model expects it; silent ones are left out.

    Raises AudioProblem.
    """
    samples = read_audio(path, audio.sample_rate)
    loud = [p for p in pieces(samples, audio.sample_rate, longest) if np.ptp(samples[p.start : p.stop]) >= SILENCE]
    cut = [samples[p.start : p.stop] for p in loud]
    found = recognizer.recognize([peak_normalized(piece) for piece in cut] if audio.peak_normalize else cut)
    said = (
        Said(p.start / audio.sample_rate, p.stop / audio.sample_rate, result.text, round(result.score, 5))
        for p, result in zip(loud, found, strict=True)
    )
    return Transcript(tuple(said), len(samples) / audio.sample_rate)
