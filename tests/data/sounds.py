"""Small audio files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def noise(samples: int = 4000, seed: int = 0, channels: int = 1) -> np.ndarray:
    shape = samples if channels == 1 else (samples, channels)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".opus": "OGG", ".ogg": "OGG"}.get(path.suffix)
    codec = subtype or {".opus": "OPUS", ".ogg": "VORBIS"}.get(path.suffix)
    soundfile.write(str(path), samples, rate, format=kind, subtype=codec)
    return path


def cut_short(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
