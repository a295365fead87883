"""Many streams at once on one model: all that have a full window are stepped together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from aedo.data.audio import Samples
from aedo.errors import UserError
from aedo.stream.engine import StreamEngine
from aedo.stream.session import Stream, StreamResult, step

Key = TypeVar("Key", bound=Hashable)


class StreamBatch(Generic[Key]):
    """Streams by a name of the caller's, opened and closed at any time.

    `push` and `finish` only take audio in; `step` recognises.  A server calls `step` whenever audio has come; the more
    streams have a full window by then, the larger the batch, and the less each costs.
    """

    def __init__(self, engine: StreamEngine, *, endpoint: float | None = None, most: int = 64) -> None:
        """endpoint: as of `Stream`; most: streams stepped together at most."""
        self.engine, self.endpoint, self.most = engine, endpoint, most
        self._streams: dict[Key, Stream] = {}
        self._results: list[tuple[Key, StreamResult]] = []

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def size(self) -> int:
        """Bytes carried by all streams."""
        return sum(stream.size for stream in self._streams.values())

    @property
    def ready(self) -> int:
        """Streams that have a window to recognise."""
        return sum(stream.ready for stream in self._streams.values())

    def open(self, key: Key) -> None:
        """A new stream of that name."""
        if key in self._streams:
            raise UserError(f"a stream {key!r} is open already; finish it or choose another name")
        self._streams[key] = Stream(self.engine, self.endpoint)

    def push(self, key: Key, samples: Samples) -> None:
        """Take in samples [N] float32 of a stream."""
        self._of(key).add(samples)

    def finish(self, key: Key) -> None:
        """No samples of this stream follow.  It is closed when all of it has been recognised."""
        silent = self._of(key).end()
        if silent is not None:
            self._results.append((key, silent))
            del self._streams[key]

    def step(self) -> list[tuple[Key, StreamResult]]:
        """Recognise one window of every stream that has one; the results of those it changed."""
        results, self._results = self._results, []
        ready = [(key, stream) for key, stream in self._streams.items() if stream.ready]
        names = {id(stream): key for key, stream in ready}
        for start in range(0, len(ready), self.most):
            for stream, result in step([stream for _, stream in ready[start : start + self.most]]):
                results.append((names[id(stream)], result))
        for key, stream in ready:
            if stream.finished:
                del self._streams[key]
        return results

    def drain(self) -> Iterator[tuple[Key, StreamResult]]:
        """Recognise all that waits."""
        while self._results or self.ready:
            yield from self.step()

    def _of(self, key: Key) -> Stream:
        if key not in self._streams:
            raise UserError(f"no stream {key!r} is open; open it first")
        return self._streams[key]
