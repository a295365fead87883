"""Audio as a stream of short blocks: memory stays the same however long a recording is.  N samples, C channels."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from aedo.data.audio import AudioProblem, Samples, check_container, promised_frames, why_unreadable

_SECONDS = 5
_SLOWEST, _FASTEST = 1000, 10_000_000
"""Samples a second that no recording of speech has: less, or more."""


def stream_file(path: str | Path, sample_rate: int) -> Iterator[Samples]:
    """Blocks [N] float32, mono at `sample_rate`, of a file of any format, rate and channel count.

    Raises AudioProblem where the file is missing, unreadable, empty or has samples that are not finite; at its end,
    where it is truncated.
    """
    try:
        with soundfile.SoundFile(str(path)) as file:
            check_container(path)
            promised = promised_frames(file)
            read = yield from _resampled(_checked(_file_blocks(file)), int(file.samplerate), sample_rate)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise AudioProblem(why_unreadable(Path(path), error)) from error
    if not read:
        raise AudioProblem("audio has 0 samples")
    if promised is not None and read < promised:
        raise AudioProblem(f"audio is truncated: {read} of {promised} samples are there")


def stream_array(samples: npt.ArrayLike, rate: int, sample_rate: int) -> Iterator[Samples]:
    """Blocks [N] float32, mono at `sample_rate`, of samples [N] or [N, C] at `rate`; full scale is 1.

    Integers are scaled by their type's range.  Raises AudioProblem where there are none, or none that are numbers.
    """
    try:
        array = np.asarray(samples)
    except ValueError as error:  # lists of different lengths
        raise AudioProblem(f"audio must be numbers [N] or [N, C]: {error}") from error
    rate = _whole(rate)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu" or rate <= 0:
        raise AudioProblem(f"audio must be numbers [N] or [N, C] at a positive rate, not {array.dtype} {array.shape}")
    if array.ndim == 2 and array.shape[1] > max(array.shape[0], 1):
        raise AudioProblem(f"audio has {array.shape[0]} samples of {array.shape[1]} channels; give it as [N, C]")
    if not array.size:
        raise AudioProblem("audio has 0 samples")
    yield from _resampled(_checked(_array_blocks(array, rate)), rate, sample_rate)


def _whole(rate: object) -> int:
    """Samples a second; a float is taken if it is whole.  AudioProblem where `rate` is no such number."""
    if isinstance(rate, (int, float, np.integer, np.floating)) and not isinstance(rate, bool):
        value = float(rate)
        if value.is_integer() and (value <= 0 or _SLOWEST <= value < _FASTEST):
            return int(value)
    raise AudioProblem(f"a sample rate is a whole number of samples a second, such as 16000, not {rate!r}")


def _file_blocks(file: soundfile.SoundFile) -> Iterator[npt.NDArray[np.float32]]:
    wanted = _SECONDS * int(file.samplerate)
    while len(block := file.read(wanted, dtype="float32", always_2d=True)):
        yield block


def _array_blocks(array: npt.NDArray[np.generic], rate: int) -> Iterator[npt.NDArray[np.float32]]:
    offset, scale = 0.0, 1.0
    if array.dtype.kind in "iu":
        scale = 2.0 ** (8 * array.dtype.itemsize - 1)
        offset = scale if array.dtype.kind == "u" else 0.0
    wanted = max(1, _SECONDS * rate)
    for start in range(0, len(array), wanted):
        block = (array[start : start + wanted].astype(np.float64) - offset) / scale
        yield (block if block.ndim == 2 else block[:, None]).astype(np.float32)


def _checked(blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
    for block in blocks:
        low, high = float(block.min()), float(block.max())  # both are NaN if any sample is
        if not np.isfinite(low) or not np.isfinite(high):
            raise AudioProblem("audio has NaN or infinite samples")
        yield block


def _resampled(blocks: Iterable[npt.NDArray[np.float32]], rate: int, sample_rate: int) -> Generator[Samples, None, int]:
    """Channels averaged, then resampled (soxr, high quality) block to block; returns how many were read."""
    import soxr

    resampler = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32", "HQ")
    read = 0
    for block in blocks:
        read += len(block)
        samples = np.ascontiguousarray(block.mean(axis=1, dtype=np.float32))
        if resampler is not None:
            samples = resampler.resample_chunk(samples)
        if len(samples):
            yield samples
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if len(rest):
            yield rest
    return read
