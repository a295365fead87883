"""Audio files to samples: decoding, mixing, resampling, peak normalisation.

Shapes: N samples, C channels.  Everything libsndfile decodes is welcome (wav, flac, ogg, opus, mp3 ...).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from pydantic import Field

from aedo.config import Part
from aedo.data.packed import file_of, member
from aedo.errors import UserError

if TYPE_CHECKING:
    from lhotse.cut import MonoCut

Samples = npt.NDArray[np.float32]

SILENCE = 1e-4
"""An utterance whose samples span less than this (full scale = 1; three steps of 16-bit audio) is silent."""

_BLOCK = 1 << 20
_STREAMED = 0x7FFF0000  # WAV writers that cannot seek back leave a length about this large or larger
_WAV_LENGTH = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)


class AudioConfig(Part):
    sample_rate: int = Field(16000, gt=0)
    """Samples per second the model expects; prepared data has it already."""
    peak_normalize: bool = True
    """Divide every utterance by its largest magnitude (the reference)."""


class AudioProblem(Exception):  # noqa: N818 - a finding about data, not a failure of the program
    """Audio that cannot be used; `reason` says why, without the file's name (the caller knows it)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Decoded(NamedTuple):
    samples: Samples
    """[N, C], full scale is 1."""
    rate: int
    """Samples per second."""


def decode(path: str | Path, start: int = 0, frames: int | None = None) -> Decoded:
    """Samples `start` to `start + frames` (default: to the end) of a file, or of a place in a packed one, all channels.

    Raises AudioProblem: missing, unreadable, truncated, or empty.  A file that decodes to fewer samples than its
    header promises is truncated: half an utterance with the whole text would teach the model nonsense.
    """
    try:
        with soundfile.SoundFile(member(str(path)) or str(path)) as file:
            promised = promised_frames(file)
            if start:
                file.seek(start)
            samples = _read(file, frames)
            rate = int(file.samplerate)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise AudioProblem(why_unreadable(Path(file_of(str(path))), error)) from error
    if not len(samples):
        raise AudioProblem("audio has 0 samples")
    wanted = frames if frames is not None else promised and promised - start
    if wanted is not None and len(samples) < wanted:
        raise AudioProblem(f"audio is truncated: {len(samples)} of {wanted} samples are there")
    return Decoded(samples, rate)


def check_samples(samples: Samples) -> None:
    """Raises AudioProblem for NaN or infinite samples and for silence.  `samples` [N] or [N, C]."""
    low, high = float(samples.min()), float(samples.max())  # both are NaN if any sample is
    if not np.isfinite(low) or not np.isfinite(high):
        raise AudioProblem("audio has NaN or infinite samples")
    if high - low < SILENCE:
        raise AudioProblem("audio is silent")


def check_container(path: str | Path) -> None:
    """Raises AudioProblem for an Ogg file cut inside a page; libsndfile decodes such a file without a word."""
    with open(path, "rb") as file:
        if file.read(4) != b"OggS":
            return
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 17)))  # a page has at most 65,307 bytes
        tail = file.read()
    page = tail.rfind(b"OggS")
    segments = tail[page + 27 : page + 27 + tail[page + 26]] if page + 26 < len(tail) else b""
    if page < 0 or not segments or page + 27 + len(segments) + sum(segments) > len(tail):
        raise AudioProblem("audio is truncated: the last Ogg page is incomplete")


def check_format(rate: int, channels: int, sample_rate: int) -> None:
    """Raises AudioProblem unless audio of this rate and channel count is mono at `sample_rate`."""
    if rate != sample_rate:
        raise AudioProblem(f"audio is {rate} Hz, expected {sample_rate}; run aedo prepare with --resample")
    if channels != 1:
        raise AudioProblem(f"audio has {channels} channels, expected 1; run aedo prepare with --resample")


def mono(decoded: Decoded, sample_rate: int) -> Samples:
    """Channels averaged, then resampled (soxr, high quality) to `sample_rate`: [N] float32."""
    import soxr

    samples = decoded.samples.mean(axis=1, dtype=np.float32)
    if decoded.rate != sample_rate:
        samples = soxr.resample(samples, decoded.rate, sample_rate, quality="HQ").astype(np.float32)
    return np.ascontiguousarray(samples)


def peak_normalized(samples: Samples) -> Samples:
    """x / max |x|."""
    return np.asarray(samples / np.abs(samples).max(), dtype=np.float32)


def read_audio(path: str | Path, sample_rate: int) -> Samples:
    """Any file as mono float32 [N] at `sample_rate`, as loud as it is.  Raises AudioProblem."""
    decoded = decode(path)
    check_samples(decoded.samples)
    return mono(decoded, sample_rate)


def write_flac(path: Path, samples: Samples, rate: int) -> None:
    """Samples [N] as 16-bit FLAC; louder than full scale is scaled down, not clipped.

    Raises UserError when the file cannot be written.
    """
    loudest = max(float(np.abs(samples).max()), 1.0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(path), samples / np.float32(loudest), rate, format="FLAC", subtype="PCM_16")
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path}: cannot be written: {error}; free some space or choose another folder") from error


def samples_of(cut: MonoCut, config: AudioConfig) -> Samples:
    """Samples of a prepared utterance: mono float32 [N] at `config.sample_rate`, peak-normalised if configured.

    Raises AudioProblem when the audio is unreadable, truncated, empty, silent, not finite, of another rate or has
    several channels.
    """
    path = cut.recording.sources[0].source
    rate = cut.recording.sampling_rate
    decoded = decode(path, round(cut.start * rate), cut.num_samples)
    check_format(decoded.rate, decoded.samples.shape[1], config.sample_rate)
    samples = decoded.samples[:, 0]
    check_samples(samples)
    return peak_normalized(samples) if config.peak_normalize else np.ascontiguousarray(samples)


def _read(file: soundfile.SoundFile, frames: int | None) -> Samples:
    """Block by block: the header's length may be a guess, an absurd one in a damaged file."""
    blocks = []
    left = frames
    while left is None or left > 0:
        wanted = _BLOCK if left is None else min(left, _BLOCK)
        block = file.read(wanted, dtype="float32", always_2d=True)
        blocks.append(block)
        if len(block) < wanted:
            break
        left = None if left is None else left - len(block)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def promised_frames(file: soundfile.SoundFile) -> int | None:
    """Samples per channel that the header promises; None where it leaves the length open."""
    frames = int(file.frames)
    if file.format in ("WAV", "WAVEX"):  # libsndfile corrects a wrong length silently and only logs it
        match = _WAV_LENGTH.search(file.extra_info)
        if match and int(match[2]) < int(match[1]) < _STREAMED:
            return max(frames * int(match[1]) // max(int(match[2]), 1), frames + 1)
    return frames if frames < 1 << 62 else None


def why_unreadable(path: Path, error: Exception) -> str:
    """What to tell of a file that could not be opened or read."""
    if not os.path.exists(path):  # unlike Path.exists, never raises
        return "audio file is missing"
    if os.path.isdir(path):
        return "audio path is a folder"
    if os.path.getsize(path) == 0:
        return "audio file has 0 bytes"
    detail = getattr(error, "error_string", str(error)).removeprefix("Error : ").strip().rstrip(".")
    return f"audio is unreadable or truncated: {detail}"
