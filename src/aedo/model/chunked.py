"""Streaming encoders: features in overlapping chunks, each of which sees itself and a few chunks before.

B utterances, W chunks of all utterances that hold frames, S streams, T feature frames, F mel filters, R feature frames
an encoder frame stands for, K encoder frames that a chunk keeps, C = K + look-ahead, N chunks of history, D features.

A chunk is K + look-ahead encoder frames long, made of R times as many feature frames, and the next one starts K frames
later: the look-ahead frames are heard, help the kept ones, and are computed anew by the next chunk.  Offline all chunks
of all utterances are one batch; in a stream each is computed when its last feature frame is there, and what later ones
need of it is carried in a `ChunkState`.

Source: Zeineldeen et al. 2023, "Chunked attention-based encoder-decoder model for streaming speech recognition".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.features.logmel import Features
from aedo.model.encoder import Encoded, Encoder
from aedo.model.frontend import ConvFrontend
from aedo.nn.masks import length_mask
from aedo.nn.past import AllAtOnce, Carried


class ChunkedConfig(Part):
    kept: int = Field(20, ge=1)
    """Encoder frames of a chunk that count, and by which the next one starts later."""
    look_ahead: int = Field(15, ge=0)
    """Frames behind them that a chunk hears too."""
    history: int = Field(2, ge=0)
    """Chunks before, whose kept frames self-attention and convolution of every layer see."""
    original: bool = False
    """As the original system computes it: chunks that never were are seen as zeros, relative positions reckon with
    whole chunks of history instead of kept frames, and the last chunk counts as full.  For its checkpoints only."""

    @property
    def frames(self) -> int:
        """C, encoder frames of a chunk."""
        return self.kept + self.look_ahead

    @property
    def first(self) -> int:
        """Where a chunk's first frame stands among the N K frames before and its own."""
        return self.history * (self.frames if self.original else self.kept)


@dataclass(frozen=True)
class ChunkState:
    """What streams carry from chunk to chunk: nothing else of the past is heard again."""

    left: tuple[Tensor, ...]
    """For self-attention and convolution of every layer [S, N K, X], oldest frames first; empty at the start."""
    chunks: Tensor
    """[S] int64 on the model's device: chunks heard so far."""

    def select(self, rows: Tensor) -> ChunkState:
        """The streams at `rows` ([R] int64 on the model's device)."""
        return ChunkState(tuple(x[rows] for x in self.left), self.chunks[rows])

    @classmethod
    def joined(cls, states: list[ChunkState]) -> ChunkState:
        """Streams of several states as one batch; states that have heard nothing may be among them."""
        heard = next((state for state in states if state.left), None)
        if heard is None:
            return cls((), torch.cat([state.chunks for state in states]))
        filled = [
            state.left or tuple(x.new_zeros(len(state.chunks), *x.shape[1:]) for x in heard.left) for state in states
        ]
        return cls(tuple(map(torch.cat, zip(*filled, strict=True))), torch.cat([state.chunks for state in states]))


class Chunked:
    """How a front-end and an encoder hear features in chunks."""

    def __init__(self, config: ChunkedConfig, frontend: ConvFrontend, encoder: Encoder) -> None:
        """Holds both, without owning them."""
        self.config, self.frontend, self.encoder = config, frontend, encoder
        self.stride, self.window = config.kept * frontend.downsampling, config.frames * frontend.downsampling
        """Feature frames between the starts of chunks, and of a chunk."""

    def count(self, frames: Tensor) -> Tensor:
        """Chunks of utterances of so many feature frames, [B] -> [B]."""
        return -(-frames // self.stride)

    def lengths(self, frames: Tensor) -> Tensor:
        """Encoder frames for a number of feature frames, [B] -> [B]; always whole chunks in the original."""
        return self.count(frames) * self.config.kept if self.config.original else self.frontend.lengths(frames)

    def encode(self, features: Features, collect: tuple[int, ...] = ()) -> Encoded:
        """All chunks of all utterances at once; the kept frames of an utterance joined to [B, T', D]."""
        counts, config = self.count(features.lengths), self.config
        each = max(int(counts.max()), 1)
        present = torch.arange(each) < counts[:, None]  # [B, chunks of the longest]
        rows = present.flatten().nonzero()[:, 0]
        device = features.values.device
        here = rows.to(device, non_blocking=True)
        past = AllAtOnce(here % each, config.kept, config.history, config.first, unmasked=config.original)
        alone = self._chunks(self._cut(features, each, rows, here), past, collect)

        lengths = self.lengths(features.lengths)
        longest = int(lengths.max())

        def stitch(x: Tensor) -> Tensor:  # [W, C, D] -> [B, T', D]
            kept = x[:, : config.kept]
            batch = kept.new_zeros(len(counts) * each, *kept.shape[1:]).index_copy(0, here, kept)
            return batch.view(len(counts), -1, kept.shape[2])[:, :longest]

        states = stitch(alone.states)
        layers = {number: stitch(x) for number, x in alone.layers.items()}
        return Encoded(states, lengths, length_mask(lengths, states.shape[1], device), layers)

    def start(self, streams: int) -> ChunkState:
        """Streams that have heard nothing."""
        return ChunkState((), torch.zeros(streams, dtype=torch.int64, device=next(self.frontend.parameters()).device))

    def step(self, chunk: Features, state: ChunkState, collect: tuple[int, ...] = ()) -> tuple[Encoded, ChunkState]:
        """One chunk of every stream: features [S, window, F], of which `lengths` [S] (CPU) are there -> kept frames.

        All of them are there except at the end of the audio.  A stream's chunks start `stride` frames after each other,
        from frame 0; there is one as long as its first frame is there.  What is behind the lengths is of no meaning.
        The result is [S, K, D], of which Encoded.lengths are there.
        """
        config = self.config
        past = Carried(state.left, state.chunks, config.kept, config.history, config.first, unmasked=config.original)
        values = chunk.values.masked_fill(
            ~length_mask(chunk.lengths, chunk.values.shape[1], chunk.values.device)[..., None], 0.0
        )
        lengths = torch.full_like(chunk.lengths, self.window) if config.original else chunk.lengths
        alone = self._chunks(Features(values, lengths), past, collect)
        kept = alone.lengths.clamp(max=config.kept)
        layers = {number: x[:, : config.kept] for number, x in alone.layers.items()}
        encoded = Encoded(alone.states[:, : config.kept], kept, alone.mask[:, : config.kept], layers)
        return encoded, ChunkState(past.following, state.chunks + 1)

    def _cut(self, features: Features, each: int, rows: Tensor, here: Tensor) -> Features:
        """The chunks [W, window, F] that hold frames; rows [W] on the CPU, and on the model's device."""
        values, lengths = features
        if self.frontend.padding == "consistent":
            values = values.masked_fill(~length_mask(lengths, values.shape[1], values.device)[..., None], 0.0)
        total = (each - 1) * self.stride + self.window
        values = nn.functional.pad(values, (0, 0, 0, max(0, total - values.shape[1])))[:, :total]
        chunks = values.unfold(1, self.window, self.stride).transpose(2, 3)  # [B, each, window, F]
        chunks = chunks.flatten(0, 1).index_select(0, here)
        if self.config.original:
            return Features(chunks, torch.full((len(rows),), self.window))
        starts = torch.arange(each) * self.stride
        return Features(chunks, (lengths[:, None] - starts).clamp(0, self.window).flatten()[rows])

    def _chunks(self, chunks: Features, past: AllAtOnce | Carried, collect: tuple[int, ...]) -> Encoded:
        return self.encoder.see(self.frontend(chunks), self.frontend.lengths(chunks.lengths), past, collect)
