"""Streams in the course of recognition: samples in, words out as they become final."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from aedo.data.audio import Samples
from aedo.errors import UserError
from aedo.search.chunk_beam import ChunkBeam
from aedo.stream.engine import Carried, StreamEngine
from aedo.stream.features import Window
from aedo.stream.words import Span, agreed, complete, spans

_LONGEST_WORD = 400
"""Labels that may wait for their word to be complete.  No word is as long: a model that never ends one is broken."""


class StreamWord(NamedTuple):
    text: str
    start: float
    """Seconds from the start of the stream: where the chunk starts that its first label came in."""
    end: float
    """Where the chunk ends that its last label came in."""


@dataclass(frozen=True)
class StreamResult:
    """What a chunk of audio changed."""

    final: tuple[StreamWord, ...]
    """Words behind those of earlier results; they never change."""
    partial: str
    """What the best hypothesis has behind them; it may change."""
    seconds: float
    """Audio heard for this, the look-ahead included."""
    ended: bool
    """Whether an utterance ends here: at silence that is long enough, or at the end of the audio."""

    @property
    def text(self) -> str:
        """The final words."""
        return " ".join(word.text for word in self.final)


class Stream:
    """One stream: its samples and features not used up yet, what its model carries, and its words that are not final.

    Nothing grows with the length of the stream.  Results are functions of the audio, not of the pieces it comes in.
    """

    def __init__(self, engine: StreamEngine, endpoint: float | None = None) -> None:
        """endpoint: seconds of silence after speech that end an utterance; None: only the end of the audio does.

        Silence is chunks in which the best hypothesis has no label.  At an end-point the best hypothesis is final, and
        the decoder begins anew with the next chunk; the encoder goes on.
        """
        if endpoint is not None and not 0 < endpoint < math.inf:
            raise UserError(f"an end-point after {endpoint} seconds of silence; give a positive number, or none")
        self.engine = engine
        self.patience = None if endpoint is None else math.ceil(endpoint / engine.chunk_seconds - 1e-6)
        """Chunks of silence that end an utterance."""
        self._cutter = engine.cutter()
        self.reset()

    def reset(self) -> None:
        """Forget everything heard; the next sample is the first of a new stream."""
        self._cutter.reset()
        self.carried = self.engine.start()
        self._waiting: deque[Window] = deque()
        self._chunks, self._origin = 0, 0  # recognised so far; before the current utterance
        self._spoken: int | None = None  # chunk of the last final label of the current utterance
        self._partial = ""
        self._ended = False

    @property
    def ready(self) -> bool:
        """Whether a window waits to be recognised."""
        return bool(self._waiting)

    @property
    def finished(self) -> bool:
        """Whether the audio has ended and all of it has been recognised."""
        return self._ended and not self._waiting

    @property
    def size(self) -> int:
        """Bytes carried: samples, features, encoder, decoder and labels."""
        waiting = sum(4 * window.values.numel() for window in self._waiting)
        return self._cutter.carried + waiting + self.carried.size

    def push(self, samples: Samples) -> list[StreamResult]:
        """Take in samples and recognise what they complete: a result for every chunk that changes something."""
        found: list[StreamResult] = []
        for start in range(0, len(samples), self.engine.rate):  # a second at a time: pieces may be long
            self.add(samples[start : start + self.engine.rate])
            found += self._recognized()
        return found

    def finish(self) -> list[StreamResult]:
        """No samples follow: recognise the rest.  The last result has `ended`; nothing is partial any more."""
        silent = self.end()
        return [silent] if silent is not None else self._recognized()

    def add(self, samples: Samples) -> None:
        """Take in samples [N] float32 without recognising them yet."""
        if self._ended:
            raise UserError("this stream has been finished; reset it to start another one")
        self._waiting.extend(self._cutter.push(samples))

    def end(self) -> StreamResult | None:
        """No samples follow.  A result where nothing is left to recognise: all audio is too short for a frame."""
        if self._ended:
            return None
        self._waiting.extend(self._cutter.finish())
        self._ended = True
        return None if self._waiting else StreamResult((), "", self._cutter.seen / self.engine.rate, ended=True)

    def take(self) -> Window:
        """The next window, to be recognised together with those of other streams."""
        return self._waiting.popleft()

    def heard(self, window: Window, carried: Carried) -> StreamResult | None:
        """What the window has changed, if anything; `carried` is what the model carries behind it."""
        chunks, self._chunks = self._chunks, self._chunks + 1
        hypotheses = _hypotheses(carried.beam)
        best, times = hypotheses[0], carried.beam.chunks[0, 0].tolist()
        words = spans(self.engine.tokenizer, best)
        spoken = self._origin + times[words[-1].last] if words else self._spoken
        silent = self.patience is not None and spoken is not None and chunks - spoken >= self.patience
        ended = window.last or silent
        count = len(best) if ended else self._settled(hypotheses)
        final = tuple(self._word(word, times) for word in words if word.last < count)
        partial = " ".join(word.text for word in words[len(final) :])
        if ended:
            self.carried, self._origin, self._spoken = replace(carried, beam=self.engine.fresh_beam()), chunks + 1, None
        else:
            self.carried = carried
            if count:
                settled = torch.tensor([count], device=self.engine.device)
                self.carried = replace(carried, beam=carried.beam.without(settled))
            if final:
                self._spoken = self._origin + times[words[len(final) - 1].last]
        changed, self._partial = ended or bool(final) or partial != self._partial, partial
        return StreamResult(final, partial, self._seconds(window), ended) if changed else None

    def _settled(self, hypotheses: Sequence[Sequence[int]]) -> int:
        """How many labels are those of final words."""
        common = agreed(hypotheses)
        count = complete(self.engine.tokenizer, hypotheses[0][:common])
        return common if not count and common > _LONGEST_WORD else count

    def _word(self, word: Span, times: Sequence[int]) -> StreamWord:
        each = self.engine.chunk_seconds
        first, last = (self._origin + times[at] for at in (word.first, word.last))
        return StreamWord(word.text, first * each, (last + 1) * each)

    def _seconds(self, window: Window) -> float:
        """Audio that has been heard when the window, the latest one, has been."""
        if window.last:
            return self._cutter.seen / self.engine.rate
        features, chunked = self.engine.model.features, self.engine.chunked
        frames = (self._chunks - 1) * chunked.stride + window.frames
        return ((frames - 1) * features.hop + features.window_length) / self.engine.rate

    def _recognized(self) -> list[StreamResult]:
        found = []
        while self.ready:
            found += [result for _, result in step([self])]
        return found


def _hypotheses(beam: ChunkBeam) -> list[list[int]]:
    """The labels of each hypothesis of a single stream, the best first."""
    found = zip(beam.labels[0].tolist(), beam.lengths[0].tolist(), beam.scores[0].tolist(), strict=True)
    possible = [labels[:length] for labels, length, score in found if score > -math.inf]
    if not possible:
        raise UserError("the search found no hypothesis with a finite score; the checkpoint's weights are not finite")
    return possible


def step(streams: Sequence[Stream]) -> list[tuple[Stream, StreamResult]]:
    """Recognise one window of every stream that has one, all as one batch; the results of those it changed."""
    ready = [stream for stream in streams if stream.ready]
    if not ready:
        return []
    windows = [stream.take() for stream in ready]
    carried = ready[0].engine.step([stream.carried for stream in ready], windows)
    heard = [stream.heard(window, state) for stream, window, state in zip(ready, windows, carried, strict=True)]
    return [(stream, result) for stream, result in zip(ready, heard, strict=True) if result is not None]


def stream_results(stream: Stream, blocks: Iterable[Samples]) -> Iterator[StreamResult]:
    """The results of a stream that these blocks [N] make.

    Whatever the source of the blocks raises is raised when everything that came before has been recognised.
    """
    source = iter(blocks)
    while True:
        try:
            block = next(source, None)
        except Exception:
            yield from stream.finish()
            raise
        if block is None:
            break
        yield from stream.push(block)
    yield from stream.finish()
