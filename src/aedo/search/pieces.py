"""Long recordings cut at their quietest moments, into pieces of the length that models are trained on.  N samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_FRAME = 0.02  # seconds
_QUIET = 10  # frames that must be quiet together: 0.2 s


class Piece(NamedTuple):
    start: int
    """First sample."""
    stop: int
    """One past the last."""


def pieces(samples: npt.NDArray[np.float32], rate: int, longest: float) -> list[Piece]:
    """Cut samples [N] into pieces of at most `longest` seconds, each in the quietest 0.2 s of the piece's second half.

    Audio that is short enough stays whole.
    """
    found, start, limit = [], 0, int(longest * rate)
    while len(samples) - start > limit:
        found.append(Piece(start, start + _quietest(samples[start : start + limit], rate)))
        start = found[-1].stop
    return [*found, Piece(start, len(samples))]


def _quietest(samples: npt.NDArray[np.float32], rate: int) -> int:
    frame = max(1, int(_FRAME * rate))
    frames = len(samples) // frame
    energy = np.square(samples[: frames * frame], dtype=np.float64).reshape(frames, frame).sum(1)
    smooth = np.convolve(energy, np.ones(_QUIET), mode="valid")  # energy of frames i to i + _QUIET
    first = frames // 2
    return int((first + np.argmin(smooth[first:]) + _QUIET // 2) * frame)
