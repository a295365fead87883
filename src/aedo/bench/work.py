"""Multiply-adds that a model needs, counted from its shapes: what no way of computing it can do without.

Only products of matrices and convolutions count, and only valid frames and labels; a training needs each product three
times (once forward, twice backward), but nothing flows back into the features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from aedo.experiment import Experiment
from aedo.model.blstm_frontend import BlstmFrontendConfig
from aedo.model.conformer import ConformerConfig
from aedo.model.ebranchformer import EBranchformerConfig
from aedo.model.encoder import StackConfig
from aedo.model.frontend import ConvFrontendConfig
from aedo.model.lstm_decoder import LstmDecoderConfig
from aedo.model.transformer_decoder import TransformerDecoderConfig
from aedo.nn.feedforward import FeedForwardConfig
from aedo.nn.positions import ClippedPositionsConfig, TransformerXLPositionsConfig


@dataclass(frozen=True)
class Work:
    """Multiply-adds by part, of one pass forward."""

    features: int
    first: int
    """Of the front-end's first products, whose input needs no gradient."""
    frontend: int
    """Of all the others."""
    encoder: int
    ctc: int
    decoder: int

    @property
    def encoding(self) -> int:
        """From samples to encoder states."""
        return self.features + self.first + self.frontend + self.encoder

    @property
    def training(self) -> int:
        """Of a whole pass forward and backward."""
        return self.features + 2 * self.first + 3 * (self.frontend + self.encoder + self.ctc + self.decoder)

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def work_of(experiment: Experiment, vocabulary: int, utterances: Iterable[tuple[int, int]]) -> Work:
    """Of utterances given as (samples, labels without EOS)."""
    found = Work(0, 0, 0, 0, 0, 0)
    for samples, labels in utterances:
        found += _of_utterance(experiment, vocabulary, samples, labels)
    return found


def search_work(experiment: Experiment, vocabulary: int, frames: int, steps: int, beam: int) -> int:
    """Of one utterance's beam search by the LSTM decoder behind the encoder; the first step has one hypothesis."""
    decoder = experiment.decoder
    assert isinstance(decoder, LstmDecoderConfig)
    dim = experiment.encoder.dim
    return _lstm_memory(decoder, dim, frames) + (1 + (steps - 1) * beam) * _lstm_step(decoder, dim, vocabulary, frames)


def _of_utterance(e: Experiment, vocabulary: int, samples: int, labels: int) -> Work:
    heard = max(0, (samples - e.features.window) // e.features.hop + 1)
    features = heard * (e.features.fft // 2 + 1) * e.features.dim
    first, frontend, frames = _frontend(e, heard)
    if e.streaming is None:
        pairs = frames * (frames if e.encoder.chunk is None else min(frames, e.encoder.chunk))
        encoder, decoder = _encoder(e.encoder, frames, pairs), _decoder(e, vocabulary, frames, labels + 1)
    else:
        chunked, stride = e.streaming, e.streaming.kept * e.frontend.downsampling
        chunks = -(-heard // stride)
        first, frontend, _ = (chunks * n for n in _frontend(e, chunked.frames * e.frontend.downsampling))
        past = sum(min(chunk, chunked.history) for chunk in range(chunks)) * chunked.kept
        pairs = chunked.frames * (chunks * chunked.frames + past)
        encoder = _encoder(e.encoder, chunks * chunked.frames, pairs)
        decoder = _decoder(e, vocabulary, frames, labels + chunks, chunked.kept)
    ctc = len(e.ctc.layers) * frames * e.encoder.dim * (vocabulary + 1)
    return Work(features, first, frontend, encoder, ctc, decoder)


def _frontend(e: Experiment, frames: int) -> tuple[int, int, int]:
    """Multiply-adds of the first products and of the others, and the frames that come out."""
    config, bands = e.frontend, e.features.dim
    if isinstance(config, BlstmFrontendConfig):
        return _blstm(config, frames, bands, e.encoder.dim)
    counts, inputs = [], 1
    assert isinstance(config, ConvFrontendConfig)
    for index, (channels, stride) in enumerate(zip(config.channels, config.time_strides)):
        frames = -(-frames // stride)
        counts.append(frames * bands * config.kernel**2 * inputs * channels)
        inputs, bands = channels, -(-bands // config.band_pool) if index == 0 else bands
    return counts[0], sum(counts[1:]) + frames * bands * inputs * e.encoder.dim, frames


def _blstm(config: BlstmFrontendConfig, frames: int, bands: int, dim: int) -> tuple[int, int, int]:
    counts, inputs = [], 1
    for channels in config.channels:
        counts.append(frames * bands * 9 * inputs * channels)
        inputs, bands = channels, -(-bands // config.band_pool)
    entering = inputs * bands
    for index, pool in enumerate(config.time_pools):
        each = 2 * frames * 4 * config.units
        if index == 0 and not config.channels:
            counts += [each * entering, each * config.units]
        else:
            counts.append(each * (entering + config.units))
        entering, frames = 2 * config.units, -(-frames // pool)
    return counts[0], sum(counts[1:]) + frames * entering * dim, frames


def _feed_forward(config: FeedForwardConfig, dim: int) -> int:
    """Of one frame or label."""
    return dim * config.dim * (3 if config.activation == "swiglu" else 2)


def _encoder(config: StackConfig, frames: int, pairs: int) -> int:
    """`pairs`: of queries and keys that see each other."""
    dim = config.dim
    block = frames * (2 * _feed_forward(config.feed_forward, dim) + 4 * dim * dim) + 2 * pairs * dim
    position = config.attention.position
    if isinstance(position, ClippedPositionsConfig):
        block += frames * min(2 * position.clip + 1, 2 * frames - 1) * dim  # queries with all distances told apart
    elif isinstance(position, TransformerXLPositionsConfig):
        block += (2 * frames - 1) * dim * dim + pairs * dim  # vectors of all distances, scores of those seen
    if isinstance(config, ConformerConfig):
        block += frames * (2 * dim * dim + config.convolution.kernel * dim + dim * dim)
    elif isinstance(config, EBranchformerConfig):
        gated = 3 * dim if config.gating.dim is None else config.gating.dim
        block += frames * gated * (3 * dim + config.gating.kernel)
        block += frames * 2 * dim * (config.merge_kernel + dim)
    return config.layers * block


def _decoder(e: Experiment, vocabulary: int, frames: int, labels: int, seen: int | None = None) -> int:
    """`seen`: frames that a label attends to; None: all."""
    config, dim = e.decoder, e.encoder.dim
    if config is None:
        return 0
    if isinstance(config, TransformerDecoderConfig):
        return _transformer(config, dim, vocabulary, frames, labels)
    each = _lstm_step(config, dim, vocabulary, frames if seen is None else seen)
    return _lstm_memory(config, dim, frames) + labels * each


def _lstm_memory(config: LstmDecoderConfig, dim: int, frames: int) -> int:
    """Once for an utterance."""
    return frames * dim * (config.attention_dim + config.attention_heads * config.weight_feedback)


def _lstm_step(config: LstmDecoderConfig, dim: int, vocabulary: int, frames: int) -> int:
    """For each label."""
    units, embedding, context = config.lstm_dim, config.embedding_dim, config.attention_heads * dim
    gates = 4 * units * ((units if config.second == "language_model" else embedding) + context + units)
    second = {"none": 0, "stacked": units + context + units, "language_model": embedding + units}[config.second]
    inner = config.attention_dim * (2 if config.weight_feedback else 1)  # energies, and the feedback of the weights
    attention = units * config.attention_dim + frames * config.attention_heads * (inner + dim)
    readout = (units + embedding + context) * config.readout_dim + config.readout_dim // 2 * vocabulary
    return gates + 4 * units * second + attention + readout


def _transformer(config: TransformerDecoderConfig, encoder_dim: int, vocabulary: int, frames: int, labels: int) -> int:
    dim = config.dim
    before = labels * (labels + 1)  # every label sees itself and those before; scores and values
    block = labels * (4 * dim * dim + 2 * dim * dim + _feed_forward(config.feed_forward, dim)) + before * dim
    block += frames * encoder_dim * 2 * dim + 2 * labels * frames * dim
    return config.layers * block + (1 + len(config.auxiliary)) * labels * dim * vocabulary


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What the matrices of a precision are made of."""
