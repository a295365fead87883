"""The Transformer decoder: pre-norm blocks of causal self-attention, attention to the encoder and feed-forward network.

B batch, K hypotheses, T frames, U labels, D' encoder features, D decoder features, H heads, E = D / H, L layers,
V vocabulary, N packed labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from aedo.config import Part
from aedo.conventions import EOS
from aedo.model.decoder import DecoderOutput, placed
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels, pack
from aedo.nn.attend import Fused, check_fused
from aedo.nn.decoder_attention import CausalAttention, CrossAttention, KeysValues, pad_labels
from aedo.nn.dropout import Dropout, DropoutConfig, WeightDropout, WeightShare, kept_layers
from aedo.nn.embedding import TargetEmbedding
from aedo.nn.feedforward import FeedForward, FeedForwardConfig
from aedo.nn.init import linear
from aedo.nn.norms import BlockNorm, block_norm
from aedo.nn.positions import absolute_sinusoids
from aedo.nn.rates import Rate


class TransformerDecoderConfig(Part):
    kind: Literal["transformer"] = "transformer"
    layers: int = Field(6, ge=1)
    dim: int = Field(512, ge=2)
    heads: int = Field(8, ge=1)
    feed_forward: FeedForwardConfig = FeedForwardConfig(activation="relu")
    norm: BlockNorm = "layer"
    rotary: bool = False
    """Turn queries and keys of self-attention by their position, beside the sinusoids added to the input."""
    self_attention_bias: bool = True
    shared_embedding: bool = False
    """One matrix for the embedding and the output layer."""
    embedding_scale: float = Field(1.0, gt=0)
    """Factor of the embeddings; with a shared matrix, the root of `dim` is usual."""
    embedding_std: float | None = Field(None, gt=0)
    """Standard deviation of the normal distribution, cut at twice it, that embeddings start from; None: Glorot's."""
    auxiliary: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Layers (from 1) below the last with an output layer of their own, used in training only."""
    dropout: DropoutConfig = DropoutConfig()
    """Inside the feed-forward networks and before every residual sum."""
    layer_drop: float = Field(0.0, ge=0, lt=1)
    """Probability that a training step passes over a layer, drawn for each of them."""
    input_dropout: Rate = 0.0
    """Dropout of the embedding with its position, drawn per element."""
    attention_dropout: Rate = 0.1
    """Dropout of the attention weights."""
    attention_dropout_share: WeightShare = "none"
    attention_fused: Fused = "evaluation"
    """Where torch's fused kernels compute attention; never in search, which keeps the weights."""

    @model_validator(mode="after")
    def _check(self) -> TransformerDecoderConfig:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by heads {self.heads}")
        too_high = [layer for layer in self.auxiliary if layer >= self.layers]
        if too_high:
            raise ValueError(f"auxiliary {too_high} do not lie below the last of {self.layers} layers")
        if self.dim % 2:
            raise ValueError(f"dim {self.dim} is odd: positions need pairs of sine and cosine")
        if self.rotary and self.dim // self.heads % 2:
            raise ValueError(f"rotary needs heads of even size, not {self.dim} / {self.heads}")
        check_fused(self.attention_fused, self.attention_dropout, self.attention_dropout_share)
        return self

    def build(self, dim: int, vocabulary: int) -> TransformerDecoder:
        return TransformerDecoder(
            TargetEmbedding(vocabulary, self.dim, self.embedding_std),
            self.embedding_scale,
            Dropout(self.input_dropout, "none"),
            [self._block(dim) for _ in range(self.layers)],
            block_norm(self.norm, self.dim),
            None if self.shared_embedding else linear(self.dim, vocabulary, bias=False),
            {
                layer: AuxiliaryHead(block_norm(self.norm, self.dim), linear(self.dim, vocabulary, bias=False))
                for layer in self.auxiliary
            },
            self.layer_drop,
        )

    def _block(self, encoder_dim: int) -> TransformerDecoderBlock:
        dropouts = [WeightDropout(self.attention_dropout, self.attention_dropout_share) for _ in range(2)]
        norms = [block_norm(self.norm, self.dim) for _ in range(3)]
        return TransformerDecoderBlock(
            CausalAttention(
                self.dim,
                self.heads,
                dropouts[0],
                bias=self.self_attention_bias,
                rotary=self.rotary,
                fused=self.attention_fused,
            ),
            CrossAttention(self.dim, encoder_dim, self.heads, dropouts[1], self.attention_fused),
            self.feed_forward.build(self.dim, self.dropout),
            (norms[0], norms[1], norms[2]),
            self.dropout.build(),
        )


@dataclass(frozen=True)
class TransformerDecoderMemory:
    """Keys and values of the encoder's frames, computed once per utterance."""

    layers: tuple[KeysValues, ...]
    """Of every layer, [B, H, T, E]."""
    mask: Tensor
    """[B, T] bool."""

    def select(self, rows: Tensor) -> TransformerDecoderMemory:
        """The utterances at `rows` ([R] int64 on the memory's device)."""
        layers = tuple(KeysValues(keys[rows], values[rows]) for keys, values in self.layers)
        return TransformerDecoderMemory(layers, self.mask[rows])


@dataclass(frozen=True)
class TransformerDecoderState:
    """Keys and values of the labels so far."""

    layers: tuple[KeysValues, ...]
    """Of every layer, [B, K, H, U, E]."""
    weights: Tensor
    """[B, K, T] attention weights of the last step, mean over heads and layers."""
    lengths: Tensor | None = None
    """[B, K] labels of each hypothesis, where they differ: those of the layers behind them mean nothing."""

    def gather(self, rows: Tensor, back: Tensor) -> TransformerDecoderState:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        at = (rows[:, None], back)
        layers = tuple(KeysValues(keys[at], values[at]) for keys, values in self.layers)
        return TransformerDecoderState(layers, self.weights[at], None if self.lengths is None else self.lengths[at])

    def put(self, columns: Tensor, new: TransformerDecoderState, taken: Tensor) -> TransformerDecoderState:
        """With the hypotheses of `new` [B, K'] in the places `columns` [B, K'] where `taken` [B, K'] bool."""
        lengths = placed(self._counts(), columns, new._counts(), taken)
        longest = int(lengths.max())

        def put(old: Tensor, fresh: Tensor) -> Tensor:
            old, fresh = (pad_labels(x[..., :longest, :], max(longest - x.shape[-2], 0)) for x in (old, fresh))
            return placed(old, columns, fresh, taken)

        layers = tuple(KeysValues(*map(put, *pair)) for pair in zip(self.layers, new.layers, strict=True))
        return TransformerDecoderState(layers, placed(self.weights, columns, new.weights, taken), lengths)

    def _counts(self) -> Tensor:
        if self.lengths is not None:
            return self.lengths
        count = self.layers[0].keys.shape[-2]
        return torch.full(self.weights.shape[:2], count, device=self.weights.device)


class TransformerDecoderBlock(nn.Module):
    """Self-attention, attention to the encoder, feed-forward network; each normed before, with a residual sum behind.

    Source: Vaswani et al. 2017; norms before: Xiong et al. 2020.
    """

    def __init__(
        self,
        attention: CausalAttention,
        cross_attention: CrossAttention,
        ff: FeedForward,
        norms: tuple[nn.Module, nn.Module, nn.Module],
        dropout: Dropout,
    ) -> None:
        super().__init__()
        self.attention, self.cross_attention, self.ff, self.dropout = attention, cross_attention, ff, dropout
        self.attention_norm, self.cross_attention_norm, self.ff_norm = norms

    def forward(self, x: Tensor, memory: KeysValues, mask: Tensor) -> Tensor:
        """x [B, U, D] -> [B, U, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return self._end(x, self.cross_attention(self.cross_attention_norm(x), memory, mask))

    def with_weights(self, x: Tensor, memory: KeysValues, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the weights over the frames [B, H, U, T]."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        context, weights = self.cross_attention.with_weights(self.cross_attention_norm(x), memory, mask)
        return self._end(x, context), weights

    def step(
        self, x: Tensor, past: KeysValues, memory: KeysValues, mask: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, KeysValues]:
        """x [B, K, D] -> ([B, K, D], weights over the frames [B, H, K, T], past with this label)."""
        attended, seen = self.attention.step(self.attention_norm(x), past, lengths)
        x = x + self.dropout(attended)
        context, weights = self.cross_attention.with_weights(self.cross_attention_norm(x), memory, mask)
        return self._end(x, context), weights, seen

    def _end(self, x: Tensor, context: Tensor) -> Tensor:
        """What follows the attention to the encoder."""
        x = x + self.dropout(context)
        y: Tensor = x + self.dropout(self.ff(self.ff_norm(x)))
        return y


class AuxiliaryHead(nn.Module):
    """Norm and output layer on top of a lower layer."""

    def __init__(self, norm: nn.Module, output: nn.Linear) -> None:
        super().__init__()
        self.norm, self.output = norm, output

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> logits [N, V]."""
        y: Tensor = self.output(self.norm(x))
        return y


class TransformerDecoder(nn.Module):
    """p(label | labels before, encoder).  The input before the first label is EOS."""

    def __init__(
        self,
        embedding: TargetEmbedding,
        embedding_scale: float,
        input_dropout: Dropout,
        blocks: list[TransformerDecoderBlock],
        final_norm: nn.Module,
        output: nn.Linear | None,
        auxiliary: dict[int, AuxiliaryHead],
        layer_drop: float = 0.0,
    ) -> None:
        """Without `output`, the embedding's matrix is the output's too."""
        super().__init__()
        self.embedding, self.embedding_scale, self.input_dropout = embedding, embedding_scale, input_dropout
        self.layers, self.layer_drop = nn.ModuleList(blocks), layer_drop
        self.final_norm, self.output = final_norm, output
        self.auxiliary = nn.ModuleDict({str(layer): head for layer, head in auxiliary.items()})
        self.copy_output_to_heads()

    @torch.no_grad()
    def copy_output_to_heads(self) -> None:
        """Start the matrices of the auxiliary heads as copies of the output's, as in the reference."""
        for head in cast(list[AuxiliaryHead], list(self.auxiliary.values())):
            head.output.weight.copy_(self._matrix())

    def forward(self, encoded: Encoded, labels: Labels, *, keep_attention: bool = False) -> DecoderOutput:
        """Teacher-forced logits of `labels` (EOS included)."""
        packing = pack(labels.lengths, encoded.states.device)
        x = self._embed(nn.functional.pad(labels.ids[:, :-1], (1, 0), value=EOS), 0)  # [B, U, D]
        attention, auxiliary = None, {}
        kept = kept_layers(len(self.layers), self.layer_drop if self.training else 0.0)
        for number, block in enumerate(self._blocks(), start=1):
            if kept[number - 1] and not keep_attention:
                x = block(x, block.cross_attention.memory(encoded.states), encoded.mask)
            elif kept[number - 1]:
                frames = block.cross_attention.memory(encoded.states)
                x, weights = block.with_weights(x, frames, encoded.mask)
                mean = weights.mean(1) / len(self.layers)
                attention = mean if attention is None else attention + mean
            if str(number) in self.auxiliary:
                auxiliary[number] = self.auxiliary[str(number)](packing.take(x))
        return DecoderOutput(
            self._read_out(packing.take(x)),
            packing.take(labels.ids),
            packing,
            None if attention is None else packing.take(attention),
            auxiliary,
        )

    def memory(self, encoded: Encoded) -> TransformerDecoderMemory:
        """Everything that does not depend on the labels."""
        layers = tuple(block.cross_attention.memory(encoded.states) for block in self._blocks())
        return TransformerDecoderMemory(layers, encoded.mask)

    def start(self, memory: TransformerDecoderMemory) -> TransformerDecoderState:
        """One empty hypothesis per utterance."""
        batch, frames = memory.mask.shape
        weights = memory.layers[0].keys.new_zeros(batch, 1, frames)
        return TransformerDecoderState(tuple(block.attention.start(batch) for block in self._blocks()), weights)

    def step(
        self, memory: TransformerDecoderMemory, labels: Tensor | None, state: TransformerDecoderState
    ) -> tuple[Tensor, TransformerDecoderState]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state)."""
        if labels is None:
            labels = torch.full(state.weights.shape[:2], EOS, device=state.weights.device)
        position = state.layers[0].keys.shape[-2] if state.lengths is None else state.lengths
        x = self._embed(labels[..., None], position)[..., 0, :]  # [B, K, D]
        layers, total = [], torch.zeros_like(state.weights)
        for block, past, frames in zip(self._blocks(), state.layers, memory.layers, strict=True):
            x, weights, seen = block.step(x, past, frames, memory.mask, state.lengths)
            layers.append(seen)
            total = total + weights.mean(1)
        lengths = None if state.lengths is None else state.lengths + 1
        return self._read_out(x), TransformerDecoderState(tuple(layers), total / len(layers), lengths)

    def _blocks(self) -> list[TransformerDecoderBlock]:
        return cast(list[TransformerDecoderBlock], list(self.layers))

    def _embed(self, ids: Tensor, first: int | Tensor) -> Tensor:
        """[..., U] at the positions from `first` -> [..., U, D]."""
        dim = self.embedding.embedding_dim
        x = self.embedding(ids) * self.embedding_scale
        x = x + absolute_sinusoids(first, ids.shape[-1], dim, ids.device).to(x.dtype)
        y: Tensor = self.input_dropout(x)
        return y

    def _read_out(self, x: Tensor) -> Tensor:
        """[..., D] -> logits [..., V]."""
        return nn.functional.linear(self.final_norm(x), self._matrix())

    def _matrix(self) -> Tensor:
        """Of the output layer, [V, D]."""
        return self.embedding.weight if self.output is None else self.output.weight
