"""N-gram models as ARPA files, the text form that every n-gram tool writes and reads.

G n-grams of an order n.  Numbers of words are those of `Symbols`.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from aedo.errors import UserError
from aedo.files import explained
from aedo.lm.symbols import Symbols

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

LN10 = math.log(10.0)
_GZIP = b"\x1f\x8b"
_KENLM = b"mmap lm http://kheafield.com/code"
_SHOWN = 5


class NGrams(NamedTuple):
    """All of one order."""

    words: Int64
    """[G, n]."""
    log_probs: Float64
    """[G] of the last word after those before it; natural logarithms."""
    backoffs: Float64
    """[G] weight of the shorter contexts where this one knows nothing of a word; natural logarithms."""


def read_arpa(path: Path, symbols: Symbols) -> list[NGrams]:
    """By order.  UserError where the file is no ARPA file (.arpa, .arpa.gz), or one over words that are no labels."""
    try:
        with _opened(path) as file:
            return _Reader(path, symbols, file).read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, not an ARPA file") from None
    except MemoryError:
        raise UserError(f"{path}: more n-grams than there is memory for, or its head is wrong") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable ARPA file ({error}); copy it anew") from None


def write_arpa(path: Path, orders: Sequence[NGrams], symbols: Symbols) -> None:
    """Compressed where the name ends with .gz; the same model gives the same bytes."""
    names = np.array([*symbols.names, "<s>"])
    with explained(path, "write the language model"), open(path, "wb") as raw:
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else None
        write = (packed or raw).write
        write(("\\data\\\n" + "".join(f"ngram {n}={len(grams.words)}\n" for n, grams in enumerate(orders, 1))).encode())
        for order, grams in enumerate(orders, 1):
            write(f"\n\\{order}-grams:\n".encode())
            for words, log_prob, backoff in zip(names[grams.words], grams.log_probs / LN10, grams.backoffs / LN10):
                end = f"\t{backoff:.7g}" if order < len(orders) else ""
                write(f"{log_prob:.7g}\t{' '.join(words)}{end}\n".encode())
        write(b"\n\\end\\\n")
        if packed is not None:
            packed.close()


def _opened(path: Path) -> IO[str]:
    with open(path, "rb") as file:
        start = file.read(len(_KENLM))
    if start == _KENLM:
        raise UserError(
            f"{path}: a binary file of KenLM, from which the probabilities cannot be listed; give the ARPA file it was "
            "made of (lmplz writes one, build_binary only reads it)"
        )
    if start.startswith(_GZIP):
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return open(path, encoding="utf-8", newline="\n")


class _Reader:
    def __init__(self, path: Path, symbols: Symbols, file: IO[str]) -> None:
        self.path, self.symbols = path, symbols
        self.numbers = symbols.numbers()
        self.lines = _numbered(file)
        self.line = 0

    def read(self) -> list[NGrams]:
        counts = self._counts()
        orders = [self._section(order, count, order == len(counts)) for order, count in enumerate(counts, 1)]
        if self._next() != "\\end\\":
            raise self._wrong("expected \\end\\: the file was cut off, or has more n-grams than its head says")
        return orders

    def _counts(self) -> list[int]:
        while (text := self._next()) != "\\data\\":  # anything may stand before it
            if not text:
                raise UserError(f"{self.path}: not an ARPA file: it has no line \\data\\")
        counts: list[int] = []
        while text := self._next():
            name, _, count = text.partition("=")
            if name.split() != ["ngram", str(len(counts) + 1)] or not count.strip().isdecimal():
                break
            counts.append(int(count))
        if not counts or text != "\\1-grams:":
            raise self._wrong("expected ngram 1=COUNT, ngram 2=COUNT and so on, then \\1-grams:")
        return counts

    def _section(self, order: int, count: int, highest: bool) -> NGrams:
        if order > 1 and self._next() != f"\\{order}-grams:":
            raise self._wrong(f"expected \\{order}-grams: behind the n-grams of the order before")
        words, numbers = np.empty((count, order), np.int64), np.zeros((count, 2))
        foreign: list[str] = []
        number_of = self.numbers.get
        for i in range(count):
            fields = self._next().split()
            if len(fields) - order not in (1, 2):
                raise self._wrong(f"expected a logarithm, {order} words, and perhaps a back-off weight")
            try:
                numbers[i, 0] = float(fields[0])
                if len(fields) > order + 1:
                    numbers[i, 1] = float(fields[-1])
            except ValueError:
                raise self._wrong(f"{fields[0]!r} or {fields[-1]!r} is no number") from None
            row = [number_of(word, -1) for word in fields[1 : order + 1]]
            if -1 in row:
                foreign.append(next(word for word, known in zip(fields[1:], row) if known < 0))
                row = [0] * order
            words[i] = row
        if foreign:
            raise self._other_words(foreign, order, count)
        if (numbers[:, 0] > 1e-6).any() or np.isnan(numbers).any() or (numbers[:, 1] == np.inf).any():
            raise UserError(f"{self.path}: its {order}-grams hold logarithms above 0: these are no probabilities")
        log_probs, backoffs = np.maximum(numbers, -100.0).T * LN10  # minus infinity: some tools' way to say never
        return NGrams(words, np.minimum(log_probs, 0.0), backoffs if not highest else np.zeros(count))

    def _other_words(self, foreign: list[str], order: int, count: int) -> UserError:
        shown = ", ".join(dict.fromkeys(foreign[: 10 * _SHOWN][:_SHOWN]))
        examples = ", ".join([name for name in self.symbols.names if not name.startswith("<")][1 : 1 + _SHOWN])
        return UserError(
            f"{self.path}: {len(foreign):,} of its {count:,} {order}-grams have words that are no labels of the "
            f"recogniser ({shown}; its labels are {examples} ...). The language model must be over these labels: make "
            "one with aedo train-lm TEXT --run RUN --ngram N, from the texts this one was made of"
        )

    def _next(self) -> str:
        self.line, text = next(self.lines, (self.line, ""))
        return text

    def _wrong(self, message: str) -> UserError:
        return UserError(f"{self.path}:{self.line}: {message}")


def _numbered(file: IO[str]) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    for number, line in enumerate(file, 1):
        text = line.strip(" \t\r\n")
        if text:
            yield number, text
