"""One step of many streams on one model: a window of features each, and what is carried from window to window.

S streams, W feature frames of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from aedo.data.audio import AudioConfig
from aedo.errors import UserError
from aedo.features.logmel import Features
from aedo.features.normalize import UtteranceNorm
from aedo.model.aed import AED
from aedo.model.chunked import Chunked, ChunkState
from aedo.model.chunked_decoder import ChunkedLstmDecoder
from aedo.search.chunk_beam import ChunkBeam
from aedo.search.chunked import ChunkSearch
from aedo.search.precision import computing
from aedo.search.recognize import Recognizer
from aedo.stream.features import Window, WindowCutter


@dataclass(frozen=True)
class Carried:
    """What a stream carries from window to window, beside the audio not used up yet."""

    encoder: ChunkState
    """Keys, values and convolution inputs of the chunks before, of every layer."""
    beam: ChunkBeam
    """Hypotheses with the decoder's state; of their labels those that are not final."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(x.numel() * x.element_size() for x in _tensors((self.encoder, self.beam)))


@dataclass(frozen=True)
class Latency:
    """How far a model's words lie behind the audio, apart from the time it takes to compute them.  Milliseconds."""

    chunk: float
    """From the start of a chunk to that of the next: what is said at its start waits for its end."""
    look_ahead: float
    """Audio behind a chunk that is heard before its words are known."""
    window: float
    """What the last feature frame needs beyond its own place."""

    @property
    def worst(self) -> float:
        """From a sound at the start of a chunk to the moment the chunk can be computed."""
        return self.chunk + self.look_ahead + self.window

    @property
    def mean(self) -> float:
        """The same for a sound anywhere in a chunk."""
        return self.chunk / 2 + self.look_ahead + self.window


class StreamEngine:
    """A model that hears its audio in chunks, ready to recognise any number of streams."""

    def __init__(self, recognizer: Recognizer, audio: AudioConfig, beam: int | None = None) -> None:
        """Raises UserError where the model cannot stream, with what to train instead."""
        self.model, self.tokenizer = recognizer.model, recognizer.tokenizer
        self.chunked = streaming_parts(self.model, audio)
        if recognizer.kind not in ("attention", "joint"):
            raise UserError("streams are searched by joint or attention: give --search one of these, or leave it out")
        config = recognizer.config if beam is None else recognizer.config.with_("beam", beam)
        self.search = ChunkSearch(self.model, config, recognizer.kind)
        self._collect = self.model.ctc_layers[-1:] if recognizer.kind == "joint" else ()
        self.rate, self.device, self.precision = audio.sample_rate, recognizer.device, recognizer.precision
        self.chunk_seconds = self.chunked.stride * self.model.features.hop / self.rate

    @property
    def latency(self) -> Latency:
        features, to_ms = self.model.features, 1000 / self.rate
        return Latency(
            self.chunked.stride * features.hop * to_ms,
            (self.chunked.window - self.chunked.stride) * features.hop * to_ms,
            (features.window_length - features.hop) * to_ms,
        )

    def cutter(self) -> WindowCutter:
        return WindowCutter(self.model.features, self.chunked.window, self.chunked.stride)

    def start(self) -> Carried:
        """What a stream carries in front of its first window."""
        return Carried(self.chunked.start(1), self.search.start(1))

    def fresh_beam(self) -> ChunkBeam:
        """The search of a new utterance within a stream."""
        return self.search.start(1)

    @torch.inference_mode()
    def step(self, carried: Sequence[Carried], windows: Sequence[Window]) -> list[Carried]:
        """The next window of every stream, all as one batch."""
        values = torch.stack([window.values for window in windows]).to(self.device)
        features = Features(values, torch.tensor([window.frames for window in windows]))
        state = carried[0].encoder if len(carried) == 1 else ChunkState.joined([one.encoder for one in carried])
        with computing(self.precision, self.device):
            encoded, state = self.chunked.step(features, state, self._collect)
            beam = carried[0].beam if len(carried) == 1 else ChunkBeam.joined([one.beam for one in carried])
            beam = self.search.advance(encoded, beam)
        if len(carried) == 1:
            return [Carried(state, beam)]
        rows = torch.arange(len(carried), device=self.device)[:, None]
        return [Carried(state.select(row), beam.select(row)) for row in rows]


def streaming_parts(model: AED, audio: AudioConfig) -> Chunked:
    """How a model hears its audio.  Raises UserError where it cannot stream."""
    chunked = model.chunked
    if chunked is not None and model.decoder is None:
        raise UserError("this model has no decoder, by which streams are searched; train one without ctconly")
    if chunked is None or not isinstance(model.decoder, ChunkedLstmDecoder):
        raise UserError(
            "this model hears utterances whole and cannot stream; train one that hears them in chunks: "
            "the base an4-stream, or the tag chunkaed20_15 on another base with an LSTM decoder"
        )
    if audio.peak_normalize:
        raise UserError(
            "this model was trained on audio divided by its peak, which nobody knows while a stream runs; "
            "train with the tag nopeaknorm"
        )
    if isinstance(model.features.normalize, UtteranceNorm):
        raise UserError(
            "this model normalises features by the whole utterance, which nobody knows while a stream runs; "
            "train with featnorm_global or featbn instead of featnorm_utt"
        )
    return chunked


def _tensors(part: Any) -> Iterator[Tensor]:
    """All tensors in nested dataclasses and tuples."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, tuple):
        for one in part:
            yield from _tensors(one)
    elif is_dataclass(part):
        for field in fields(part):
            yield from _tensors(getattr(part, field.name))
