"""What `aedo bench --stream` finds out: latency, speed, delays, memory over time, and streams at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aedo.data.audio import AudioProblem, Samples, samples_of
from aedo.data.manifest import Manifest
from aedo.errors import UserError
from aedo.score.tables import table
from aedo.search.transcribe import Transcriber
from aedo.stream.delays import clock, delays, joined
from aedo.stream.engine import Latency, StreamEngine
from aedo.stream.session import Stream, step

_STRETCH = 30.0
"""Seconds of audio of a stream whose delays are measured."""
_ROUNDS = 8
_MOST = 512


@dataclass(frozen=True)
class Together:
    """Streams stepped together, all with a full window at the same moment."""

    streams: int
    seconds: float
    """A step of all takes, median, features included."""
    load: float
    """The same as a share of the time until the next windows are full."""


@dataclass(frozen=True)
class StreamFigures:
    latency: Latency
    seconds: float
    """Audio of the one stream."""
    real_time_factor: float
    """Time of computing over time of audio, one stream."""
    slowest: float
    """Seconds that the slowest piece in a hundred took."""
    shown: tuple[float, ...]
    """Delays between the end of a word and its being shown for good, in seconds, ascending."""
    final: tuple[float, ...]
    """The same until it is final."""
    carried: tuple[int, ...]
    """Bytes carried at the end of every tenth of the stream."""
    resident: tuple[int, ...]
    """Bytes of the process at the same moments."""
    together: tuple[Together, ...]
    threads: int

    @property
    def capacity(self) -> int:
        """Streams that are computed in time."""
        return max((one.streams for one in self.together if one.load <= 1), default=0)

    def as_json(self) -> dict[str, Any]:
        return {
            "latency_ms": {
                "chunk": self.latency.chunk,
                "look_ahead": self.latency.look_ahead,
                "window": self.latency.window,
                "worst": self.latency.worst,
                "mean": self.latency.mean,
            },
            "seconds": self.seconds,
            "real_time_factor": self.real_time_factor,
            "slowest_piece_seconds": self.slowest,
            "words": len(self.final),
            "shown_delay_seconds": _quantiles(self.shown),
            "final_delay_seconds": _quantiles(self.final),
            "carried_bytes": list(self.carried),
            "resident_bytes": list(self.resident),
            "together": [{"streams": o.streams, "seconds": o.seconds, "load": o.load} for o in self.together],
            "capacity": self.capacity,
            "threads": self.threads,
        }

    def as_text(self) -> str:
        late = self.latency
        lines = [
            f"algorithmic latency: {late.worst:.0f} ms at most, {late.mean:.0f} ms on average "
            f"(chunk {late.chunk:.0f}, look-ahead {late.look_ahead:.0f}, window {late.window:.0f})",
            f"one stream, {self.seconds:.0f} s: real-time factor {self.real_time_factor:.3f}, "
            f"99 % of all pieces of 0.1 s within {1000 * self.slowest:.0f} ms, threads: {self.threads}",
        ]
        for what, values in (("shown for good", self.shown), ("final", self.final)):
            if values:
                half, most = _quantiles(values).values()
                lines.append(f"words {what}: {half:.2f} s after their end in the middle, 90 % within {most:.2f} s")
        lines.append(f"carried: {_span(self.carried, 1e3)} kB; process: {_span(self.resident, 1e6)} MB")
        rows = [[str(o.streams), f"{1000 * o.seconds:.1f}", f"{100 * o.load:.0f}%"] for o in self.together]
        lines += ["", table(["streams", "ms a step", "of the time"], rows)]
        return "\n".join([*lines, f"{self.capacity} streams at once in real time"])


def measure(transcriber: Transcriber, data: Path, split: str, *, seconds: float) -> StreamFigures:
    """Streams made of a split's utterances, one behind the other, again from the start until `seconds` are over."""
    engine, recognizer = transcriber.streams(), transcriber.recognizer
    stretches = list(joined(_utterances(transcriber, data, split), engine.rate, _STRETCH))
    found: list[tuple[float, float]] = []
    times: list[float] = []
    stream = Stream(engine)
    for samples in stretches[: max(1, round(seconds / _STRETCH))]:
        played, late = delays(recognizer, stream, samples)
        found += late
        times += played.computing
    spent, carried, resident = _long(Stream(engine), stretches, seconds)
    return StreamFigures(
        engine.latency,
        seconds,
        spent / seconds,
        float(np.quantile(times, 0.99)),
        tuple(sorted(shown for shown, _ in found)),
        tuple(sorted(final for _, final in found)),
        carried,
        resident,
        tuple(_together(engine, stretches)),
        torch.get_num_threads(),
    )


def _utterances(transcriber: Transcriber, data: Path, split: str) -> Iterator[Samples]:
    manifest = Manifest.open(data, split)
    for i in range(len(manifest)):
        try:
            yield samples_of(manifest.cut(i), transcriber.audio)
        except AudioProblem as problem:
            raise UserError(f"{data}: {manifest.id(i)}: {problem.reason}") from problem


def _long(stream: Stream, stretches: list[Samples], seconds: float) -> tuple[float, tuple[int, ...], tuple[int, ...]]:
    """One long stream: seconds of computing, and bytes at the end of every tenth."""
    rate, spent, now = stream.engine.rate, 0.0, clock(stream.engine.device)
    left, tenth = round(seconds * rate), round(seconds * rate / 10)
    size = min(rate, tenth)
    carried: list[int] = []
    resident: list[int] = []
    for samples in cycle(stretches):
        for start in range(0, len(samples), size):
            piece = samples[start : start + min(size, left)]
            begin = now()
            stream.push(piece)
            spent += now() - begin
            left -= len(piece)
            if left <= (9 - len(carried)) * tenth:
                carried.append(stream.size)
                resident.append(_resident())
            if not left:
                return spent, tuple(carried), tuple(resident)
    raise UserError("no audio to measure with")


def _together(engine: StreamEngine, stretches: list[Samples]) -> Iterator[Together]:
    """More and more streams, until they take longer than there is time."""
    audio = np.concatenate(stretches)
    size = engine.chunked.stride * engine.model.features.hop
    count, now = 1, clock(engine.device)
    while True:
        streams = [Stream(engine) for _ in range(count)]
        sources = [_pieces(audio, size, 7919 * i) for i in range(count)]
        times: list[float] = []
        for _ in range(_ROUNDS + 3):
            begin = now()
            for stream, source in zip(streams, sources, strict=True):
                stream.add(next(source))
            while any(stream.ready for stream in streams):
                step(streams)
            times.append(now() - begin)
        taken = float(np.median(times[3:]))  # the first ones fill the windows
        yield Together(count, taken, taken / engine.chunk_seconds)
        if taken > engine.chunk_seconds or count >= _MOST:
            return
        count = max(count + 1, round(count * min(2.0, 0.9 * engine.chunk_seconds / taken)))


def _pieces(audio: Samples, size: int, start: int) -> Iterator[Samples]:
    """Pieces of one size, round and round."""
    while True:
        start %= max(1, len(audio) - size)
        yield audio[start : start + size]
        start += size


def _resident() -> int:
    """Bytes of memory that this process has now; 0 where nobody knows."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def _quantiles(values: tuple[float, ...]) -> dict[str, float]:
    return {"median": float(np.quantile(values, 0.5)), "p90": float(np.quantile(values, 0.9))} if values else {}


def _span(values: tuple[int, ...], unit: float) -> str:
    return " ".join(f"{value / unit:.0f}" for value in values)
