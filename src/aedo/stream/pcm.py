"""Samples as they come in: raw 16-bit PCM from a pipe or a file, audio files, or arrays from Python.

N samples.  Every source gives blocks [N] float32, full scale 1, and raises UserError once nothing more can be had from
it; what came before the error has been given by then.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from aedo.data.audio import AudioProblem, Samples
from aedo.data.stream import stream_file
from aedo.errors import UserError

RAW = (".pcm", ".raw", ".s16")
"""Endings of files that hold samples and nothing else."""

_BLOCK = 1 << 15  # bytes; a pipe gives what is there, so this is no delay
_FULL = np.float32(1 / 32768)
_CONVERTED = "convert it: ffmpeg -i INPUT -f s16le -ac 1 -ar {rate} - | aedo transcribe --stream -"


class _Header(NamedTuple):
    """What a WAV header says, and the samples behind it that have been read."""

    coding: int
    channels: int
    rate: int
    bits: int
    samples: bytes


def pcm_blocks(source: BinaryIO, name: str, rate: int) -> Iterator[Samples]:
    """Blocks of a stream of little-endian 16-bit samples, mono at `rate`, as soon as they are there.

    A WAV header at the start is understood, and skipped where it says what is expected.  Raises UserError for a
    compressed file or another format, when reading fails, and at the end for half a sample.
    """
    try:
        data = _behind_header(source, _at_least(source, 12), name, rate)
        while True:
            whole = len(data) & ~1
            if whole:
                yield np.frombuffer(data[:whole], "<i2").astype(np.float32) * _FULL
            rest = data[whole:]
            more = _read(source)
            if not more:
                break
            data = rest + more
    except OSError as error:
        raise UserError(f"{name}: reading broke off: {error}; what came before is recognised") from error
    if rest:
        raise UserError(
            f"{name}: an odd number of bytes: half a sample is left over at the end; 16-bit PCM is expected, "
            + _CONVERTED.format(rate=rate)
        )


def file_blocks(path: Path, rate: int) -> Iterator[Samples]:
    """Blocks of a file: raw PCM by its ending, anything else by its header, resampled to `rate`."""
    if path.suffix.lower() in RAW:
        try:
            with open(path, "rb") as file:
                yield from pcm_blocks(file, str(path), rate)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; `-` reads standard input") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be opened: {error.strerror}") from error
        return
    try:
        yield from stream_file(path, rate)
    except AudioProblem as problem:
        raise UserError(f"{path}: {problem.reason}; what came before is recognised") from problem


def piece_blocks(pieces: Iterable[npt.ArrayLike | bytes], rate: int) -> Iterator[Samples]:
    """Blocks of pieces of any size: float arrays [N] of full scale 1, int16 arrays [N], or bytes of 16-bit PCM.

    Bytes may be cut anywhere, inside a sample too.  Raises UserError for anything else and for samples that are no
    numbers, naming the piece.
    """
    half, samples = b"", 0
    for number, piece in enumerate(pieces, 1):
        if isinstance(piece, (bytes, bytearray, memoryview)):
            data = half + bytes(piece)
            half = data[len(data) & ~1 :]
            block = np.frombuffer(data[: len(data) & ~1], "<i2").astype(np.float32) * _FULL
        else:
            block = _checked(np.asarray(piece), number, samples / rate)
        samples += len(block)
        if len(block):
            yield block
    if half:
        raise UserError("the pieces have an odd number of bytes: half a sample is left over; give 16-bit PCM")


def _checked(array: npt.NDArray[np.generic], number: int, seconds: float) -> Samples:
    where = f"piece {number} (at {seconds:.2f} s)"
    if array.ndim == 1 and array.dtype == np.int16:
        return array.astype(np.float32) * _FULL
    if array.ndim != 1 or array.dtype.kind != "f":
        raise UserError(
            f"{where}: samples are float [N] of full scale 1, int16 [N] or bytes, not {array.dtype} {array.shape}; "
            "mix several channels down first"
        )
    block = np.asarray(array, dtype=np.float32)
    if not np.isfinite(block).all():
        raise UserError(f"{where}: NaN or infinite samples; what came before is recognised, mend what makes them")
    return block


def _behind_header(source: BinaryIO, start: bytes, name: str, rate: int) -> bytes:
    """The first samples: `start`, or what follows a header that fits."""
    mend = _CONVERTED.format(rate=rate)
    if start[:4] in (b"fLaC", b"OggS") or start[:3] == b"ID3":
        raise UserError(f"{name}: a compressed file, not 16-bit PCM; give the file's name, or {mend}")
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        return start
    header = _wav_header(source, start)
    if header is None:
        raise UserError(f"{name}: a WAV header that ends before the samples; {mend}")
    if header.rate != rate:
        raise UserError(f"{name}: the WAV header says {header.rate} Hz, the model expects {rate}; {mend}")
    if header.channels != 1 or header.bits != 16 or header.coding not in (1, 0xFFFE):
        raise UserError(
            f"{name}: the WAV header says {header.channels} channels of {header.bits} bits, one of 16 bits is "
            f"expected; {mend}"
        )
    return header.samples


def _wav_header(source: BinaryIO, start: bytes) -> _Header | None:
    """Chunk after chunk up to the samples; None where they do not come.  Lengths behind `data` are not trusted."""
    coding, channels, rate, bits = 0, 0, 0, 0
    data = start[12:]
    while True:
        data += _at_least(source, 8 - len(data))
        if len(data) < 8:
            return None
        kind, size = struct.unpack("<4sI", data[:8])
        if kind == b"data":
            return _Header(coding, channels, rate, bits, data[8:])
        whole = 8 + size + size % 2
        if whole > 1 << 20:
            return None
        data += _at_least(source, whole - len(data))
        if kind == b"fmt " and len(data) >= 24:
            coding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", data[8:24])
        data = data[whole:]


def _at_least(source: BinaryIO, count: int) -> bytes:
    """`count` bytes or a few more; fewer only at the end."""
    data = b""
    while len(data) < count and (more := _read(source)):
        data += more
    return data


def _read(source: BinaryIO) -> bytes:
    """What is there, without waiting for a full block; nothing at the end."""
    try:
        return os.read(source.fileno(), _BLOCK)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return source.read(_BLOCK)  # held in memory: no descriptor
