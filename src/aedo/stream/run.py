"""A stream from where its samples come from to where its words go: what `aedo transcribe --stream` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from aedo.data.audio import Samples
from aedo.errors import UserError
from aedo.files import explained
from aedo.stream.engine import StreamEngine
from aedo.stream.pcm import file_blocks, pcm_blocks
from aedo.stream.session import Stream, stream_results
from aedo.stream.show import Printer, printer_of

FORMATS = ("txt", "json")


def stream_audio(
    engine: StreamEngine,
    sources: Sequence[str],
    *,
    format: str = "txt",
    endpoint: float | None = None,
    partial: bool = True,
    out: Path | None = None,
) -> None:
    """Recognise a stream, `-` or a file, and print its words as they become final.

    out: a folder, in which a file of the stream's name gets the same, without partial results.  Raises UserError where
    the source gives no more, or standard output takes no more; what was recognised by then has been printed, or is part
    of the message.
    """
    if len(sources) != 1:
        raise UserError(f"--stream takes one file, or - for standard input, not {len(sources)}")
    if format not in FORMATS:
        raise UserError(f"--stream --format {format}: a stream has no end to wait for; use {' or '.join(FORMATS)}")
    (source,) = sources
    with ExitStack() as files:
        printers = [printer_of(format, sys.stdout, partial=partial)]
        if out is not None:  # the file comes first: it gets the words that standard output may not take any more
            path = out / f"{'stdin' if source == '-' else Path(source).stem}.{format}"
            with explained(path, "write the transcript"):
                out.mkdir(parents=True, exist_ok=True)
                file = files.enter_context(open(path, "w", encoding="utf-8"))
            printers.insert(0, printer_of(format, file, partial=False))
        if source == "-":
            if sys.stdin.isatty():
                raise UserError("standard input is a terminal: pipe 16-bit PCM into it, as docs/streaming.md shows")
            blocks = pcm_blocks(sys.stdin.buffer, "standard input", engine.rate)
        else:
            blocks = file_blocks(Path(source), engine.rate)
        _print(engine, blocks, printers, endpoint)


def _print(engine: StreamEngine, blocks: Iterable[Samples], printers: list[Printer], endpoint: float | None) -> None:
    stream = Stream(engine, endpoint)
    for result in stream_results(stream, interrupted(blocks)):
        try:
            for show in printers:
                show(result)
        except BrokenPipeError:
            _close(sys.stdout)
            words = result.text or "no word"
            raise UserError(
                f"standard output was closed; recognised {result.seconds:.1f} s until then, not delivered: {words}"
            ) from None


def interrupted(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """The blocks up to the first Ctrl-C, which ends the audio like the end of a file."""
    try:
        yield from blocks
    except KeyboardInterrupt:
        return


def _close(out: TextIO) -> None:
    """Let nothing be written into a pipe without a reader, not even when Python ends and empties its buffer."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), out.fileno())
