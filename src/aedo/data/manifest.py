"""Manifests: the utterances of a split as lhotse cuts, one JSON line each, read when needed.

What stays in memory is two arrays (where each line starts, how many samples each utterance has), so a corpus of
hundreds of thousands of utterances opens at once.  They are kept beside the manifest and made anew when it changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aedo.data.packed import beside
from aedo.errors import UserError

if TYPE_CHECKING:
    from lhotse.cut import MonoCut

    from aedo.data.text import Tokenizer

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]

_FORMAT = 1  # of the cached arrays
_NOT_SPLITS = ("refused",)


@dataclass
class ManifestFile:
    """One file of cuts, indexed."""

    path: Path
    offsets: Int64
    """[n + 1] first byte of each line, and the end of the last one."""
    num_samples: Int64
    """[n] samples of each utterance, as stored."""
    _handle: IO[bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> ManifestFile:
        """Raises UserError naming file and line where the manifest is corrupt, or the file where it is empty."""
        index = _cached(path, "index", lambda: dict(zip(("offsets", "num_samples"), _index(path))))
        if not len(index["num_samples"]):
            raise UserError(
                f"{path}: holds no utterances; run aedo prepare again (refused.jsonl says what was refused)"
            )
        return cls(path, index["offsets"], index["num_samples"])

    def line(self, i: int) -> dict[str, Any]:
        """Utterance `i` as a plain dictionary."""
        if self._handle is None:
            self._handle = open(self.path, "rb")  # noqa: SIM115 - kept open: lines are read one by one
        start, end = int(self.offsets[i]), int(self.offsets[i + 1])
        return beside(_parsed(os.pread(self._handle.fileno(), end - start, start), self.path, i + 1), self.path.parent)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All utterances, from the first to the last, without keeping them."""
        with open(self.path, "rb") as file:
            for i, (start, end) in enumerate(pairwise(self.offsets.tolist()), 1):
                yield beside(_parsed(file.read(end - start), self.path, i), self.path.parent)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}  # each process opens the file for itself


@dataclass
class Manifest:
    """The utterances of one split, of one file or of several read as one."""

    files: tuple[ManifestFile, ...]
    num_samples: Int64
    """[n] samples of each utterance."""
    starts: Int64
    """[files + 1] number of each file's first utterance."""
    _label_lengths: dict[str, Int32] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path, split: str) -> Manifest:
        """The split's manifest in a folder of prepared data.

        SPLIT.jsonl; where that is missing, all SPLIT-*.jsonl in alphabetical order (train = train-clean-100 + ...).
        Raises UserError: no such folder or split, a corrupt line, an empty manifest.
        """
        files = tuple(ManifestFile.open(path) for path in split_files(folder, split))
        counts = [len(file.num_samples) for file in files]
        return cls(files, np.concatenate([file.num_samples for file in files]), np.cumsum([0, *counts], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.num_samples)

    def cut(self, i: int) -> MonoCut:
        """Utterance `i`, read from the file."""
        from lhotse.serialization import deserialize_item

        cut: MonoCut = deserialize_item(self._line(i))
        return cut

    def id(self, i: int) -> str:
        """Name of utterance `i`."""
        return str(self._line(i)["id"])

    def texts(self) -> Iterator[str]:
        """The transcript of every utterance, in order."""
        for file in self.files:
            for line in file.lines():
                yield _text(line)

    def label_lengths(self, tokenizer: Tokenizer) -> Int32:
        """[n] labels of each utterance, EOS not counted.  Kept beside the manifest, by the tokenizer's digest."""
        if tokenizer.digest not in self._label_lengths:
            self._label_lengths[tokenizer.digest] = np.concatenate(
                [_label_lengths_of(file, tokenizer) for file in self.files]
            )
        return self._label_lengths[tokenizer.digest]

    def _line(self, i: int) -> dict[str, Any]:
        if not 0 <= i < len(self):
            raise IndexError(f"utterance {i} of {len(self)}")
        file = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.files[file].line(i - int(self.starts[file]))


def split_files(folder: Path, split: str) -> list[Path]:
    """The manifest files that make up `split`.  Raises UserError where there is none, with the splits there are."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder that aedo prepare wrote")
    exact = folder / f"{split}.jsonl"
    if exact.is_file():
        return [exact]
    family = sorted(path for path in folder.glob("*.jsonl") if path.name.startswith(f"{split}-"))
    if family:
        return family
    there = sorted(path.stem for path in folder.glob("*.jsonl") if path.stem not in _NOT_SPLITS)
    if not there:
        raise UserError(f"{folder}: no prepared data here (no SPLIT.jsonl); run aedo prepare first")
    raise UserError(f"{folder}: no split {split!r}; there are {', '.join(there)}")


def _index(path: Path) -> tuple[Int64, Int64]:
    """Offsets [n + 1] and samples [n] of a manifest; every line is checked on the way."""
    offsets, samples = [0], []
    seen: dict[int, int] = {}  # by hash: keeping 300,000 names would cost more memory than all else
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            line = _parsed(raw, path, number)
            samples.append(_num_samples(line, path, number))
            offsets.append(offsets[-1] + len(raw))
            name = hash(line["id"])
            if name in seen and _id_at(path, offsets, seen[name]) == line["id"]:
                raise UserError(f"{path}:{number}: utterance {line['id']}: the name is taken by line {seen[name]}")
            seen[name] = number
    return np.array(offsets, dtype=np.int64), np.array(samples, dtype=np.int64)


def _id_at(path: Path, offsets: list[int], number: int) -> str:
    with open(path, "rb") as file:
        file.seek(offsets[number - 1])
        return str(json.loads(file.readline())["id"])


def _parsed(raw: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError as error:
        raise UserError(f"{path}:{number}: not valid JSON ({error}); run aedo prepare again") from None
    if not isinstance(line, dict):
        raise UserError(f"{path}:{number}: not a cut (a JSON object is expected); run aedo prepare again")
    return line


def _num_samples(line: dict[str, Any], path: Path, number: int) -> int:
    """Samples of a cut, rounded as lhotse does.  Raises UserError where the line is no cut of ours."""
    try:
        if not isinstance(line["id"], str) or not isinstance(line["recording"]["sources"][0]["source"], str):
            raise TypeError("id and source are texts")
        if len(line["supervisions"]) != 1:
            raise ValueError(f"{len(line['supervisions'])} supervisions, expected 1")
        rate, duration, start = line["recording"]["sampling_rate"], line["duration"], line["start"]
        if not (rate > 0 and duration >= 0 and start >= 0):
            raise ValueError(f"start {start}, duration {duration}, sampling_rate {rate}")
        return int(round(duration * rate, 8) + 0.5)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        name = line.get("id", "without id")
        raise UserError(f"{path}:{number}: utterance {name}: not a cut ({what}); run aedo prepare again") from None


def _text(line: dict[str, Any]) -> str:
    return line["supervisions"][0].get("text") or ""


def _label_lengths_of(file: ManifestFile, tokenizer: Tokenizer) -> Int32:
    def count() -> dict[str, Any]:
        lengths = (len(tokenizer.encode(_text(line))) for line in file.lines())
        return {"lengths": np.fromiter(lengths, dtype=np.int32, count=len(file.num_samples))}

    lengths: Int32 = _cached(file.path, f"labels-{tokenizer.digest}", count)["lengths"]
    return lengths


def _cached(path: Path, kind: str, make: Any) -> dict[str, npt.NDArray[Any]]:
    """Arrays derived from a manifest: from NAME.KIND.npz beside it if the manifest is still the same, else made anew.

    Same means same size and time of change.  Where the folder cannot be written the arrays are made each time.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    stamp = np.array([_FORMAT, stat.st_size, stat.st_mtime_ns], dtype=np.int64)
    cache = path.with_suffix(f".{kind}.npz")
    try:
        with np.load(cache, allow_pickle=False) as stored:
            if np.array_equal(stored["stamp"], stamp):
                return {key: stored[key] for key in stored.files if key != "stamp"}
    except Exception:  # missing, torn or foreign: whatever is wrong with a cache, the manifest itself decides
        pass
    arrays: dict[str, npt.NDArray[Any]] = make()
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays, stamp=stamp)
        temporary.replace(cache)
    except OSError:
        temporary.unlink(missing_ok=True)
    return arrays
