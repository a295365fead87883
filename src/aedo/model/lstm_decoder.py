"""The attention decoder: zoneout LSTM, additive attention with weight feedback, max-out read-out.

B batch, K hypotheses, T frames, U labels, D encoder features, A attention features, H LSTM units, V vocabulary,
N packed labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.model.encoder import Encoded
from aedo.model.decoder import DecoderOutput
from aedo.model.labels import Labels, pack
from aedo.nn.dropout import Dropout, DropoutConfig, Share
from aedo.nn.embedding import TargetEmbedding
from aedo.nn.init import linear
from aedo.nn.lstm import LstmState, ZoneoutLstm
from aedo.nn.rates import Rate


class LstmDecoderConfig(Part):
    kind: Literal["lstm"] = "lstm"
    embedding_dim: int = Field(640, ge=1)
    embedding_std: float | None = Field(None, gt=0)
    """Standard deviation of the normal distribution, cut at twice it, that embeddings start from; None: Glorot's."""
    attention_dim: int = Field(1024, ge=1)
    lstm_dim: int = Field(1024, ge=1)
    readout_dim: int = Field(1024, ge=2)
    """Before max-out, which halves it."""
    readout_dropout: DropoutConfig = DropoutConfig(rate=0.3)
    zone_cell: Rate = 0.15
    """Probability that a cell keeps its value; in evaluation, the old value's share."""
    zone_hidden: Rate = 0.05
    zone_share: Share = "batch_time"
    zoned_output: bool = False
    """Give the zoned hidden state to the read-out (the paper) instead of the raw one (the reference)."""

    def build(self, dim: int, vocabulary: int) -> LstmDecoder:
        lstm = ZoneoutLstm(
            self.embedding_dim + dim,
            self.lstm_dim,
            zone_cell=self.zone_cell,
            zone_hidden=self.zone_hidden,
            zoned_output=self.zoned_output,
            share=self.zone_share,
        )
        return LstmDecoder(
            TargetEmbedding(vocabulary, self.embedding_dim, self.embedding_std),
            AdditiveAttention(dim, self.attention_dim, self.lstm_dim),
            lstm,
            linear(self.lstm_dim + self.embedding_dim + dim, self.readout_dim),
            self.readout_dropout.build(),
            linear(self.readout_dim // 2, vocabulary),
        )


@dataclass(frozen=True)
class LstmDecoderMemory:
    """What the decoder needs of the encoder, computed once per utterance."""

    states: Tensor
    """[B, T, D]."""
    keys: Tensor
    """[B, T, A]."""
    fertility: Tensor
    """[B, T] sigmoid of the inverse fertility, times one half."""
    mask: Tensor
    """[B, T] bool."""

    def select(self, rows: Tensor) -> LstmDecoderMemory:
        """The utterances at `rows` ([R] int64 on the memory's device)."""
        return LstmDecoderMemory(self.states[rows], self.keys[rows], self.fertility[rows], self.mask[rows])


@dataclass(frozen=True)
class LstmDecoderState:
    """Recurrent state of the hypotheses; every tensor starts with [B, K]."""

    hidden: Tensor
    cell: Tensor
    context: Tensor
    """[B, K, D] attention context of the last step."""
    accumulated: Tensor
    """[B, K, T] attention weights summed over the steps, times the fertility."""
    weights: Tensor
    """[B, K, T] attention weights of the last step."""

    def gather(self, rows: Tensor, back: Tensor) -> LstmDecoderState:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        at = (rows[:, None], back)
        return LstmDecoderState(
            self.hidden[at], self.cell[at], self.context[at], self.accumulated[at], self.weights[at]
        )


class AdditiveAttention(nn.Module):
    """One head; energies w tanh(key + feedback of the weights so far + query).

    Source: Bahdanau et al. 2015; feedback with fertility: Tu et al. 2016.
    """

    def __init__(self, dim: int, attention_dim: int, query_dim: int) -> None:
        super().__init__()
        self.key = linear(dim, attention_dim)
        self.fertility = linear(dim, 1, bias=False)
        self.feedback = linear(1, attention_dim, bias=False)
        self.query = linear(query_dim, attention_dim, bias=False)
        self.energy = linear(attention_dim, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor, accumulated: Tensor, mask: Tensor) -> Tensor:
        """query [..., A] projected, keys [..., T, A], accumulated and mask [..., T] -> weights [..., T] float32."""
        feedback = accumulated[..., None] * self.feedback.weight[:, 0]  # [..., T, A]
        energies: Tensor = self.energy((keys + feedback + query[..., None, :]).tanh())[..., 0]
        return energies.float().masked_fill(~mask, float("-inf")).softmax(-1)


class LstmDecoder(nn.Module):
    """p(label | labels before, encoder).  The input before the first label is the zero vector."""

    def __init__(
        self,
        embedding: TargetEmbedding,
        attention: AdditiveAttention,
        lstm: ZoneoutLstm,
        readout: nn.Linear,
        readout_dropout: Dropout,
        output: nn.Linear,
    ) -> None:
        super().__init__()
        self.embedding, self.attention, self.lstm = embedding, attention, lstm
        self.readout, self.readout_dropout, self.output = readout, readout_dropout, output

    def forward(self, encoded: Encoded, labels: Labels, *, keep_attention: bool = False) -> DecoderOutput:
        """Teacher-forced logits of `labels` (EOS included)."""
        packing = pack(labels.lengths, encoded.states.device)
        memory = self.memory(encoded).select(packing.order)
        embedded = self._embed_shifted(labels.ids[packing.order])  # [B, U, E]
        weight_embedding, weight_context = torch.tensor_split(self.lstm.weight_input, [embedded.shape[-1]], dim=1)
        # [B, U, 4H], once, outside the recurrence
        gates_label = nn.functional.linear(embedded, weight_embedding, self.lstm.bias)

        rows = len(labels.lengths)
        state = LstmState(*(embedded.new_zeros(2, rows, self.lstm.units, dtype=torch.float32)))
        context = embedded.new_zeros(rows, memory.states.shape[-1])
        accumulated = memory.fertility.new_zeros(memory.fertility.shape)
        outputs, contexts, attentions = [], [], []
        for step, active in enumerate(packing.active):  # U steps, each over the utterances not yet finished
            gates = gates_label[:active, step] + nn.functional.linear(context[:active], weight_context)
            output, state = self.lstm(gates, LstmState(state.hidden[:active], state.cell[:active]))
            weights = self.attention(
                self.attention.query(output), memory.keys[:active], accumulated[:active], memory.mask[:active]
            )
            accumulated = accumulated[:active] + weights * memory.fertility[:active]
            context = torch.bmm(weights[:, None].to(memory.states.dtype), memory.states[:active])[:, 0]
            outputs.append(output)
            contexts.append(context)
            if keep_attention:
                attentions.append(weights)
        embedded_packed = self._embed_shifted(labels.ids)[packing.rows, packing.positions]
        logits = self._read_out(torch.cat(outputs), embedded_packed, torch.cat(contexts))
        return DecoderOutput(
            logits, packing.take(labels.ids), packing, torch.cat(attentions) if keep_attention else None
        )

    def memory(self, encoded: Encoded) -> LstmDecoderMemory:
        """Everything that does not depend on the labels."""
        fertility = 0.5 * self.attention.fertility(encoded.states)[..., 0].float().sigmoid()
        return LstmDecoderMemory(encoded.states, self.attention.key(encoded.states), fertility, encoded.mask)

    def start(self, memory: LstmDecoderMemory) -> LstmDecoderState:
        """One empty hypothesis per utterance."""
        batch, frames, dim = memory.states.shape
        zeros = memory.fertility.new_zeros
        units = self.lstm.units
        return LstmDecoderState(
            zeros(batch, 1, units),
            zeros(batch, 1, units),
            zeros(batch, 1, dim),
            zeros(batch, 1, frames),
            zeros(batch, 1, frames),
        )

    def step(
        self, memory: LstmDecoderMemory, labels: Tensor | None, state: LstmDecoderState
    ) -> tuple[Tensor, LstmDecoderState]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state)."""
        batch, beam, _ = state.context.shape
        if labels is None:
            embedded = state.context.new_zeros(batch, beam, self.embedding.embedding_dim)
        else:
            embedded = self.embedding(labels)
        gates = nn.functional.linear(torch.cat([embedded, state.context], -1), self.lstm.weight_input, self.lstm.bias)
        output, recurrent = self.lstm(
            gates.flatten(0, 1), LstmState(state.hidden.flatten(0, 1), state.cell.flatten(0, 1))
        )
        output = output.view(batch, beam, -1)
        weights = self.attention(
            self.attention.query(output), memory.keys[:, None], state.accumulated, memory.mask[:, None]
        )  # [B, K, T]
        context = weights.to(memory.states.dtype) @ memory.states
        following = LstmDecoderState(
            recurrent.hidden.view(batch, beam, -1),
            recurrent.cell.view(batch, beam, -1),
            context,
            state.accumulated + weights * memory.fertility[:, None],
            weights,
        )
        return self._read_out(output, embedded, context), following

    def _embed_shifted(self, ids: Tensor) -> Tensor:
        """Embedding of the label before each label, the zero vector before the first: [B, U] -> [B, U, E]."""
        return nn.functional.pad(self.embedding(ids[:, :-1]), (0, 0, 1, 0))

    def _read_out(self, output: Tensor, embedded: Tensor, context: Tensor) -> Tensor:
        hidden = self.readout(torch.cat([output, embedded, context], -1))
        maxout = hidden.unflatten(-1, (-1, 2)).amax(-1)  # over adjacent pairs
        logits: Tensor = self.output(self.readout_dropout(maxout))
        return logits
