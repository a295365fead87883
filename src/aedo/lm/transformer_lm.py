"""The Transformer language model: RMS norms, gated feed-forward networks, rotary positions, no biases.

B batch, R utterances still searched, K hypotheses, U labels, D features, H heads, E = D / H, V labels of the
vocabulary, N packed labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from aedo.config import Part
from aedo.conventions import EOS
from aedo.losses.cross_entropy import cross_entropy
from aedo.model.labels import Labels, Packing, pack
from aedo.model.transformer_decoder import TransformerDecoderState
from aedo.nn.decoder_attention import CausalAttention, KeysValues
from aedo.nn.dropout import Dropout, DropoutConfig, WeightDropout
from aedo.nn.embedding import TargetEmbedding
from aedo.nn.feedforward import FeedForward, FeedForwardConfig
from aedo.nn.norms import block_norm


class TransformerLmConfig(Part):
    layers: int = Field(6, ge=1)
    dim: int = Field(256, ge=2)
    heads: int = Field(4, ge=1)
    feed_forward: FeedForwardConfig = FeedForwardConfig(dim=704, activation="swiglu", bias=False)
    dropout: DropoutConfig = DropoutConfig(share="none")
    """Of the embeddings, inside the feed-forward networks and before every residual sum."""

    @model_validator(mode="after")
    def _check(self) -> TransformerLmConfig:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} does not give {self.heads} heads of even size, which rotary needs")
        return self

    def build(self, vocabulary: int) -> TransformerLM:
        return TransformerLM(
            TargetEmbedding(vocabulary, self.dim, std=self.dim**-0.5),
            self.dropout.build(),
            [self._block() for _ in range(self.layers)],
            block_norm("rms", self.dim),
        )

    def _block(self) -> TransformerLmBlock:
        attention = CausalAttention(
            self.dim, self.heads, WeightDropout(0.0, "none"), bias=False, rotary=True, fused="always"
        )
        return TransformerLmBlock(
            attention,
            self.feed_forward.build(self.dim, self.dropout),
            (block_norm("rms", self.dim), block_norm("rms", self.dim)),
            self.dropout.build(),
        )


class TransformerLmBlock(nn.Module):
    """Self-attention, then the feed-forward network; each normed before, with a residual sum behind."""

    def __init__(
        self, attention: CausalAttention, ff: FeedForward, norms: tuple[nn.Module, nn.Module], dropout: Dropout
    ) -> None:
        super().__init__()
        self.attention, self.ff, self.dropout = attention, ff, dropout
        self.attention_norm, self.ff_norm = norms

    def forward(self, x: Tensor) -> Tensor:
        """[B, U, D] -> [B, U, D]."""
        return self._end(x, self.attention(self.attention_norm(x)))

    def step(self, x: Tensor, past: KeysValues, lengths: Tensor | None) -> tuple[Tensor, KeysValues]:
        """[B, K, D] -> ([B, K, D], past with this label)."""
        attended, seen = self.attention.step(self.attention_norm(x), past, lengths)
        return self._end(x, attended), seen

    def _end(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(attended)
        y: Tensor = x + self.dropout(self.ff(self.ff_norm(x)))
        return y


class LmOutput(NamedTuple):
    logits: Tensor
    """[N, V], packed."""
    targets: Tensor
    """[N] int64."""
    packing: Packing


class TransformerLM(nn.Module):
    """p(label | labels before).  The input before the first label is EOS; the embedding is the output matrix, too.

    Sources: RMS norm Zhang and Sennrich 2019; gated network Shazeer 2020; rotary positions Su et al. 2021; shared
    matrix Press and Wolf 2017.
    """

    def __init__(
        self,
        embedding: TargetEmbedding,
        input_dropout: Dropout,
        blocks: list[TransformerLmBlock],
        final_norm: nn.Module,
    ) -> None:
        super().__init__()
        self.embedding, self.input_dropout = embedding, input_dropout
        self.layers, self.final_norm = nn.ModuleList(blocks), final_norm

    @property
    def vocabulary(self) -> int:
        return self.embedding.num_embeddings

    def forward(self, labels: Labels) -> LmOutput:
        """Logits of `labels`, which end with EOS."""
        device = self.embedding.weight.device
        packing = pack(labels.lengths, device)
        ids = labels.ids.to(device, non_blocking=True)
        return LmOutput(self.read_out(packing.take(self.layer_outputs(ids)[-1])), packing.take(ids), packing)

    def layer_outputs(self, ids: Tensor) -> list[Tensor]:
        """Of every layer [B, U, D], with the inputs that belong to the labels `ids` [B, U]."""
        x = self._embed(nn.functional.pad(ids[:, :-1], (1, 0), value=EOS))
        outputs = []
        for block in self._blocks():
            x = block(x)
            outputs.append(x)
        return outputs

    def read_out(self, x: Tensor) -> Tensor:
        """[..., D] -> logits [..., V]."""
        return nn.functional.linear(self.final_norm(x), self.embedding.weight)

    @torch.inference_mode()
    def log_probs(self, labels: Labels) -> Tensor:
        """[B] of whole sentences, given with EOS."""
        output = self(labels)
        each = -cross_entropy(output.logits, output.targets, 0.0)
        return each.new_zeros(len(labels.ids)).index_add(0, output.packing.rows, each).cpu()

    def scorer(self, utterances: int, device: torch.device) -> TransformerLmScorer:
        """For a batch of so many utterances; moves the model to that device."""
        return TransformerLmScorer(self.to(device).eval(), utterances)

    def start(self, utterances: int) -> TransformerDecoderState:
        """One empty hypothesis per utterance: the state of a decoder that looks at no frames."""
        nothing = self.embedding.weight.new_zeros(utterances, 1, 0)
        return TransformerDecoderState(tuple(block.attention.start(utterances) for block in self._blocks()), nothing)

    def step(self, labels: Tensor, state: TransformerDecoderState) -> tuple[Tensor, TransformerDecoderState]:
        """One label further: labels [R, K] -> (logits [R, K, V], next state)."""
        x, layers = self._embed(labels), []
        for block, past in zip(self._blocks(), state.layers, strict=True):
            x, seen = block.step(x, past, state.lengths)
            layers.append(seen)
        lengths = None if state.lengths is None else state.lengths + 1
        return self.read_out(x), replace(state, layers=tuple(layers), lengths=lengths)

    def _embed(self, ids: Tensor) -> Tensor:
        y: Tensor = self.input_dropout(self.embedding(ids) * math.sqrt(self.embedding.embedding_dim))
        return y

    def _blocks(self) -> list[TransformerLmBlock]:
        return cast(list[TransformerLmBlock], list(self.layers))


@dataclass(frozen=True)
class TransformerLmScorer:
    """The model for one batch; see aedo.search.scorer.LabelScorer."""

    model: TransformerLM
    utterances: int

    def start(self) -> TransformerDecoderState:
        """One empty hypothesis per utterance."""
        return self.model.start(self.utterances)

    def step(self, labels: Tensor | None, state: TransformerDecoderState) -> tuple[Tensor, TransformerDecoderState]:
        """labels [R, K] (None at the start) -> (log p of the next one [R, K, V], next state)."""
        if labels is None:
            labels = torch.full(state.weights.shape[:2], EOS, device=state.weights.device)
        logits, state = self.model.step(labels, state)
        return logits.float().log_softmax(-1), state

    def select(self, rows: Tensor) -> TransformerLmScorer:
        """For the utterances `rows` ([R] int64)."""
        return replace(self, utterances=len(rows))
