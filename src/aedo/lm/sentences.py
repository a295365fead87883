"""Texts for language models: read, normalised, cut into labels."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from aedo.conventions import EOS
from aedo.data.manifest import Manifest
from aedo.data.text import Tokenizer
from aedo.errors import UserError
from aedo.files import explained, sync_file
from aedo.model.labels import Labels

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

HELD_OUT = 20
"""Where there is no other text to measure on, one sentence of so many is kept out of the training."""
MOST_HELD_OUT = 2000
_SHOWN = 10


class Line(NamedTuple):
    where: str
    """file:number, or the split and the number of the utterance."""
    text: str


@dataclass(frozen=True)
class Sentences:
    """Label sequences without EOS, one behind the other."""

    labels: Int32
    lengths: Int64
    """[n] labels of each sentence."""
    words: Int64
    """[n] words of each."""
    left_out: str = ""
    """Which lines of the text are not among them; empty where all are."""

    def __len__(self) -> int:
        return len(self.lengths)

    def at(self, which: Int64) -> Sentences:
        """Those of these numbers, in this order."""
        first = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])[which]
        lengths = self.lengths[which]
        behind = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(first - behind, lengths)
        return Sentences(self.labels[places], lengths, self.words[which], self.left_out)

    def padded(self, which: Int64) -> Labels:
        """Those as a batch, with EOS."""
        found = self.at(which)
        lengths = torch.from_numpy(found.lengths)
        ids = torch.full((len(which), int(lengths.max()) + 1), EOS)
        ids[torch.arange(ids.shape[1]) < lengths[:, None]] = torch.from_numpy(found.labels).long()
        return Labels(ids, lengths + 1)

    def held_out(self) -> tuple[Sentences, Sentences]:
        """Sentences to train on and, one of `HELD_OUT`, to measure on; UserError where they are too few."""
        every = max(HELD_OUT, len(self) // MOST_HELD_OUT)
        if len(self) < HELD_OUT:
            raise UserError(f"{len(self)} sentences are too few to keep some for measuring: give --dev TEXT")
        out = np.arange(len(self)) % every == every - 1
        return self.at((~out).nonzero()[0]), self.at(out.nonzero()[0])


def lines_of_files(paths: Sequence[Path]) -> Iterator[Line]:
    """One sentence a line, also of .gz files; empty lines are none.  UserError where a file cannot be read."""
    for path in paths:
        try:
            with _opened(path) as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield Line(f"{path}:{number}", line)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); convert it") from None
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read ({error})") from None


def lines_of_data(folder: Path, split: str) -> Iterator[Line]:
    """The transcripts of a prepared folder."""
    for number, text in enumerate(Manifest.open(folder, split).texts(), 1):
        yield Line(f"{folder / split} utterance {number}", text)


def spelled(
    lines: Iterable[Line],
    tokenizer: Tokenizer,
    normalize: Callable[[str], str],
    *,
    leave_out: bool = False,
    progress: Callable[[int], None] = lambda sentences: None,
) -> Sentences:
    """Normalised and cut into labels.

    UserError where nothing is left, or characters are no labels: how many lines have some, and which; with `leave_out`
    such lines are left out instead.
    """
    bad = _Bad(leave_out)
    labels: list[npt.NDArray[np.int32]] = []
    words: list[int] = []
    for text, ids in _each(lines, tokenizer, normalize, bad, progress):
        labels.append(np.array(ids, dtype=np.int32))
        words.append(len(text.split()))
    lengths = np.array([len(ids) for ids in labels], dtype=np.int64)
    return Sentences(np.concatenate(labels), lengths, np.array(words, dtype=np.int64), bad.summary())


def write_cut(
    lines: Iterable[Line],
    tokenizer: Tokenizer,
    names: Sequence[str],
    normalize: Callable[[str], str],
    path: Path,
    *,
    leave_out: bool = False,
    progress: Callable[[int], None] = lambda sentences: None,
) -> tuple[int, str]:
    """Write the labels of each line by name, for other tools; how many lines, and which were left out.

    The file appears whole.  UserError as in `spelled`.
    """
    bad, count = _Bad(leave_out), 0
    temporary = path.with_name(f".{path.name}.tmp")
    with explained(path, "write the labels"):
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                for _, ids in _each(lines, tokenizer, normalize, bad, progress):
                    count += 1
                    file.write(" ".join([names[i] for i in ids]) + "\n")
            sync_file(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return count, bad.summary()


def _each(
    lines: Iterable[Line],
    tokenizer: Tokenizer,
    normalize: Callable[[str], str],
    bad: _Bad,
    progress: Callable[[int], None],
) -> Iterator[tuple[str, list[int]]]:
    """Texts that are not empty, and their labels.  Raises UserError at the end, as `spelled` says."""
    seen, good = 0, 0
    for seen, line in enumerate(lines, 1):
        if not seen % 1000:
            progress(1000)
        text = normalize(line.text).strip()
        if not text:
            continue
        ids = _encoded(tokenizer, text)
        if ids is None:
            bad.add(line, text)
        else:
            good += 1
            yield text, ids
    progress(seen % 1000)
    if bad.count and not bad.leave_out:
        raise UserError(bad.message(seen))
    if not good:
        nothing = "no text: every line is empty" if not bad.count else bad.message(seen)
        raise UserError(f"nothing to train or measure a language model on: {nothing}")


def _encoded(tokenizer: Tokenizer, text: str) -> list[int] | None:
    """None where there is no label for something in the text."""
    try:
        ids = tokenizer.encode(text)
    except UserError:
        if tokenizer.unknown is not None:
            raise
        return None
    return None if tokenizer.unknown in ids else ids


@dataclass
class _Bad:
    """Lines that the tokenizer cannot spell."""

    leave_out: bool
    """Whether to go on without them."""
    count: int = 0
    first: tuple[str, ...] = ()
    example: str = ""

    def add(self, line: Line, text: str) -> None:
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first += (line.where,)
        self.example = self.example or text

    def places(self) -> str:
        more = f" and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        return ", ".join(self.first) + more

    def summary(self) -> str:
        """Empty where there are none."""
        return f"lines left out, which hold characters without a label: {self.places()}" if self.count else ""

    def message(self, lines: int) -> str:
        return (
            f"{self.count:,} of {lines:,} lines hold characters that the recogniser has no label for: "
            f"{self.places()}; the first reads {self.example[:80]!r}. Normalise the text as the "
            "transcripts were (--normalize upper and the like), mend the lines, or leave them out with --leave-out"
        )


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")
