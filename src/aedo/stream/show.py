"""Results of a stream as text: on a terminal, as lines, or as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import TextIO

from aedo.stream.session import StreamResult

Printer = Callable[[StreamResult], None]

PARTIAL = "... "
"""In front of a line of words that may change."""
_DIM, _PLAIN, _ERASE = "\x1b[2m", "\x1b[0m", "\x1b[K"


def printer_of(kind: str, out: TextIO, *, partial: bool) -> Printer:
    """How results of `kind` txt or json are written to `out`: a terminal gets one text that grows, others lines.

    partial: whether words that may change are shown.  Everything is flushed at once.
    """
    if kind == "json":
        return lambda result: _line(out, as_json(result), result, partial=partial)
    if out.isatty():
        return Terminal(out, partial=partial).show
    return lambda result: _text(out, result, partial=partial)


def as_json(result: StreamResult) -> str:
    """One line: seconds of audio heard, final words with start and end, the partial text, whether an utterance ends."""
    return json.dumps(
        {
            "seconds": round(result.seconds, 3),
            "final": [
                {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)} for word in result.final
            ],
            "partial": result.partial,
            "ended": result.ended,
        },
        ensure_ascii=False,
    )


def _line(out: TextIO, line: str, result: StreamResult, *, partial: bool) -> None:
    if partial or result.final or result.ended:
        out.write(line + "\n")
        out.flush()


def _text(out: TextIO, result: StreamResult, *, partial: bool) -> None:
    """A line of final words, if any, and one of partial ones."""
    if result.final:
        out.write(result.text + "\n")
    if partial and result.partial:
        out.write(PARTIAL + result.partial + "\n")
    out.flush()


class Terminal:
    """Final words run on and wrap; partial ones stand dimmed behind them and are overwritten.

    A line holds an utterance, or as much of it as fits; partial words that do not fit lose their beginning.
    """

    def __init__(self, out: TextIO, *, partial: bool, columns: int | None = None) -> None:
        self.out, self.partial = out, partial
        self.columns = columns or shutil.get_terminal_size().columns
        self._column, self._shown = 0, 0  # characters of final words in this line, and of partial ones behind them

    def show(self, result: StreamResult) -> None:
        self._forget()
        for word in result.final:
            self._write(word.text)
        if result.ended and self._column:
            self.out.write("\n")
            self._column = 0
        elif self.partial and result.partial:
            self._hint(result.partial)
        self.out.flush()

    def _write(self, word: str) -> None:
        if self._column and self._column + 1 + len(word) > self.columns:
            self.out.write("\n")
            self._column = 0
        self.out.write(f" {word}" if self._column else word)
        self._column += len(word) + bool(self._column)

    def _hint(self, text: str) -> None:
        blank = " " if self._column else ""
        room = self.columns - self._column - len(blank) - 1  # a full line would wrap
        if room < 4:
            return
        shown = text if len(text) <= room else "…" + text[len(text) - room + 1 :]
        self.out.write(f"{blank}{_DIM}{shown}{_PLAIN}")
        self._shown = len(blank) + len(shown)

    def _forget(self) -> None:
        if self._shown:
            self.out.write(f"\x1b[{self._shown}D{_ERASE}")
            self._shown = 0
