"""The attention decoder: zoneout LSTM, additive attention with weight feedback, max-out read-out.

B batch, K hypotheses, T frames, U labels, D encoder features, A attention features, E features of the label embedding,
H LSTM units, G attention heads, V vocabulary, N packed labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.model.decoder import DecoderOutput, placed
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels, pack
from aedo.nn.additive_attention import AdditiveAttention
from aedo.nn.attention_loop import Frames, Matrices, Steps, attention_loop
from aedo.nn.dropout import Dropout, DropoutConfig, Share
from aedo.nn.embedding import TargetEmbedding
from aedo.nn.init import linear
from aedo.nn.lstm import LstmState, ZoneoutLstm
from aedo.nn.precision import single
from aedo.nn.rates import Rate
from aedo.nn.recurrence import Repeated
from aedo.nn.search_layers import Embedded, Products


class LstmDecoderConfig(Part):
    kind: Literal["lstm"] = "lstm"
    embedding_dim: int = Field(640, ge=1)
    embedding_std: float | None = Field(None, gt=0)
    """Standard deviation of the normal distribution, cut at twice it, that embeddings start from; None: Glorot's."""
    attention_dim: int = Field(1024, ge=1)
    attention_heads: int = Field(1, ge=1)
    """Attention distributions at every step; their contexts, each of the encoder's dimension, are joined."""
    weight_feedback: bool = True
    """Tell the attention where it has looked so far (with fertility)."""
    lstm_dim: int = Field(1024, ge=1)
    second: Literal["none", "stacked", "language_model"] = "none"
    """A second LSTM of the same size.  stacked: behind the attention, fed with the first one's output and the new
    context, and read out instead of the first.  language_model: in front of the first, fed with nothing but the label
    embeddings, which it replaces at the first one's input."""
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
        context, units = self.attention_heads * dim, self.lstm_dim
        entering = units if self.second == "language_model" else self.embedding_dim
        lstm = self.lstm(entering + context)
        return LstmDecoder(
            TargetEmbedding(vocabulary, self.embedding_dim, self.embedding_std),
            self.attention(dim),
            lstm,
            linear(units + self.embedding_dim + context, self.readout_dim),
            self.readout_dropout.build(),
            linear(self.readout_dim // 2, vocabulary),
            stacked=self.lstm(units + context) if self.second == "stacked" else None,
            language_model=self.lstm(self.embedding_dim) if self.second == "language_model" else None,
        )

    def attention(self, dim: int) -> AdditiveAttention:
        return AdditiveAttention(
            dim, self.attention_dim, self.lstm_dim, self.attention_heads, weight_feedback=self.weight_feedback
        )

    def lstm(self, inputs: int) -> ZoneoutLstm:
        return ZoneoutLstm(
            inputs,
            self.lstm_dim,
            zone_cell=self.zone_cell,
            zone_hidden=self.zone_hidden,
            zoned_output=self.zoned_output,
            share=self.zone_share,
        )


@dataclass(frozen=True)
class LstmDecoderMemory:
    """What the decoder needs of the encoder, computed once per utterance."""

    states: Tensor
    """[B, T, D]."""
    keys: Tensor
    """[B, T, A]."""
    fertility: Tensor
    """[B, G, T] sigmoid of the inverse fertility, times one half."""
    mask: Tensor
    """[B, T] bool."""

    def select(self, rows: Tensor | slice) -> LstmDecoderMemory:
        """The utterances at `rows` ([R] int64 on the memory's device)."""
        return LstmDecoderMemory(self.states[rows], self.keys[rows], self.fertility[rows], self.mask[rows])


@dataclass(frozen=True)
class LstmDecoderState:
    """Recurrent state of the hypotheses; every tensor starts with [B, K]."""

    lstm: LstmState
    second: LstmState | None
    """Of the second LSTM, where there is one."""
    context: Tensor
    """[B, K, G D] attention context of the last step."""
    accumulated: Tensor
    """[B, K, G, T] attention weights summed over the steps, times the fertility."""
    weights: Tensor
    """[B, K, T] attention weights of the last step, mean over the heads."""

    def gather(self, rows: Tensor, back: Tensor) -> LstmDecoderState:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        at = (rows[:, None], back)
        second = None if self.second is None else self.second.at(at)
        return LstmDecoderState(self.lstm.at(at), second, self.context[at], self.accumulated[at], self.weights[at])

    def where(self, taken: Tensor, other: LstmDecoderState) -> LstmDecoderState:
        """These hypotheses where `taken` [B, K] bool, elsewhere the others."""

        def choose(one: Tensor, two: Tensor) -> Tensor:
            return torch.where(taken.view(*taken.shape, *[1] * (one.dim() - 2)), one, two)

        return self._with(other, choose)

    @classmethod
    def joined(cls, states: Sequence[LstmDecoderState]) -> LstmDecoderState:
        """The utterances of several states as one batch."""
        return reduce(lambda one, two: one._with(two, lambda x, y: torch.cat([x, y])), states)

    def _with(self, other: LstmDecoderState, combine: Callable[[Tensor, Tensor], Tensor]) -> LstmDecoderState:
        second = None
        if self.second is not None and other.second is not None:
            second = LstmState(*map(combine, self.second, other.second))
        return LstmDecoderState(
            LstmState(*map(combine, self.lstm, other.lstm)),
            second,
            combine(self.context, other.context),
            combine(self.accumulated, other.accumulated),
            combine(self.weights, other.weights),
        )

    def put(self, columns: Tensor, new: LstmDecoderState, taken: Tensor) -> LstmDecoderState:
        """With the hypotheses of `new` [B, K'] in the places `columns` [B, K'] where `taken` [B, K'] bool."""

        def put(old: Tensor, fresh: Tensor) -> Tensor:
            return placed(old, columns, fresh, taken)

        return self._with(new, put)


def _applied(layer: nn.Module, *inputs: Tensor) -> Tensor:
    y: Tensor = layer(inputs[0] if len(inputs) == 1 else torch.cat(inputs, -1))
    return y


class LstmDecoder(nn.Module):
    """p(label | labels before, encoder).  The input before the first label is the zero vector.

    Source of a second LSTM behind the attention, fed with its context: Wu et al. 2016; of one over the labels alone:
    Tueske et al. 2020.
    """

    def __init__(
        self,
        embedding: TargetEmbedding,
        attention: AdditiveAttention,
        lstm: ZoneoutLstm,
        readout: nn.Linear,
        readout_dropout: Dropout,
        output: nn.Linear,
        *,
        stacked: ZoneoutLstm | None = None,
        language_model: ZoneoutLstm | None = None,
    ) -> None:
        super().__init__()
        self.embedding, self.attention, self.lstm = embedding, attention, lstm
        self.readout, self.readout_dropout, self.output = readout, readout_dropout, output
        self.stacked, self.language_model = stacked, language_model
        self.products = Products()
        """By which the matrices are applied in searches, label by label."""
        self.loop: Literal["fast", "plain"] = "fast"
        """How the recurrence is computed: with gradients made by hand, or left to autograd.  The same numbers to the
        digits that rounding leaves; the plain form is what the fast one is held against."""

    def forward(self, encoded: Encoded, labels: Labels, *, keep_attention: bool = False) -> DecoderOutput:
        """Teacher-forced logits of `labels` (EOS included)."""
        if torch.is_grad_enabled():
            self.products.forget()
        packing = pack(labels.lengths, encoded.states.device)
        memory = self.memory(encoded).select(packing.order)
        embedded = packing.take(nn.functional.pad(self.embedding(labels.ids[:, :-1]), (0, 0, 1, 0)))  # [N, E]
        entering = embedded if self.language_model is None else self.language_model.unroll(embedded, packing.active)
        outputs, contexts, weights = self.attend(entering, memory, packing.active)
        if self.stacked is not None:
            outputs = self.stacked.unroll(torch.cat([outputs, contexts], -1), packing.active)
        logits = self._read_out(outputs, embedded, contexts)
        attention = weights.mean(-2) if keep_attention else None
        return DecoderOutput(logits, packing.take(labels.ids), packing, attention)

    def attend(
        self, entering: Tensor, memory: LstmDecoderMemory, active: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loop of the first LSTM and the attention over packed inputs [N, E or H].

        Gives outputs [N, H], contexts [N, G D], and attention weights [N, G, T], these with gradients on the plain way
        only.
        """
        if self.loop == "plain" or self.attention.quantised:
            return self._attend_plain(entering, memory, active)
        lstm, attention = self.lstm, self.attention
        feedback = None if attention.feedback is None else attention.feedback.weight
        return attention_loop(
            entering,
            Matrices(
                lstm.weight_input,
                lstm.weight_hidden,
                lstm.bias,
                attention.query.weight,
                attention.energy.weight,
                feedback,
            ),
            Frames(memory.states, memory.keys, memory.fertility, memory.mask),
            Steps(active, lstm.changes, lstm.zoned_output),
        )

    def _attend_plain(
        self, entering: Tensor, memory: LstmDecoderMemory, active: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same, step by step, its gradients left to autograd."""
        weight_entering, weight_context = self.lstm.weight_input.tensor_split([entering.shape[-1]], dim=1)
        # Whatever does not hang on the step before is computed for all steps at once, outside the recurrence.
        recurrent = Repeated(torch.cat([self.lstm.weight_hidden, weight_context], 1))
        gates_entering = recurrent.begin(nn.functional.linear(entering, weight_entering, self.lstm.bias))  # [N, 4H]

        state = self.lstm.start(active[0])
        context = state.cell.new_zeros(active[0], self.attention.heads * memory.states.shape[-1])
        accumulated = torch.zeros_like(memory.fertility)
        outputs, contexts, attentions = [], [], []
        for gates in torch.split(gates_entering, list(active)):
            if len(gates) < len(context):  # some utterances have ended
                still = slice(len(gates))
                memory, state = memory.select(still), state.at(still)
                context, accumulated = context[still], accumulated[still]
            output, state = self.lstm.move(gates + recurrent(torch.cat([state.hidden, context], -1)), state)
            weights = self.attention(self.attention.query(output), memory.keys, accumulated, memory.mask)
            accumulated = accumulated + weights * memory.fertility
            context = torch.bmm(weights.to(memory.states.dtype), memory.states).flatten(1)
            outputs.append(output)
            contexts.append(context)
            attentions.append(weights)
        return torch.cat(outputs), torch.cat(contexts), torch.cat(attentions)

    def memory(self, encoded: Encoded) -> LstmDecoderMemory:
        """Everything that does not depend on the labels."""
        states, keys = encoded.states, self.attention.key(encoded.states)
        keys = keys if torch.is_grad_enabled() else single(keys)  # once, not at every step of a search
        return LstmDecoderMemory(states, keys, self.attention.fertilities(states), encoded.mask)

    def start(self, memory: LstmDecoderMemory) -> LstmDecoderState:
        """One empty hypothesis per utterance."""
        batch, heads, frames = memory.fertility.shape
        zeros, state = memory.fertility.new_zeros, self.lstm.start(batch, 1)
        return LstmDecoderState(
            state,
            None if self.stacked is None and self.language_model is None else state,
            zeros(batch, 1, heads * memory.states.shape[-1]),
            zeros(batch, 1, heads, frames),
            zeros(batch, 1, frames),
        )

    def step(
        self, memory: LstmDecoderMemory, labels: Tensor | None, state: LstmDecoderState
    ) -> tuple[Tensor, LstmDecoderState]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state)."""
        batch, beam, _ = state.context.shape
        products = self.products
        embedded: Tensor | Embedded
        if labels is None:
            embedded = state.context.new_zeros(batch, beam, self.embedding.embedding_dim)
        else:
            embedded = Embedded(labels, self.embedding)
        entering, second = embedded, state.second
        if self.language_model is not None and second is not None:
            entering, second = self.language_model.step((embedded,), second, products)
        output, recurrent = self.lstm.step((entering, state.context), state.lstm, products)
        keys, mask = memory.keys[:, None], memory.mask[:, None]  # one for all hypotheses
        weights = self.attention.of_hypotheses(output, keys, state.accumulated, mask, products)  # [B, K, G, T]
        context = (weights.flatten(1, 2).to(memory.states.dtype) @ memory.states).view(batch, beam, -1)
        accumulated = state.accumulated + weights * memory.fertility[:, None]
        if self.stacked is not None and second is not None:
            output, second = self.stacked.step((output, context), second, products)
        following = LstmDecoderState(recurrent, second, context, accumulated, weights.mean(-2))
        return self._read_out(output, embedded, context, products.layer), following

    def _read_out(
        self,
        output: Tensor,
        embedded: Tensor | Embedded,
        context: Tensor,
        apply: Callable[..., Tensor] = _applied,
    ) -> Tensor:
        hidden = apply(self.readout, output, embedded, context)
        maxout = hidden.view(*hidden.shape[:-1], -1, 2).amax(-1)  # over adjacent pairs
        return apply(self.output, self.readout_dropout(maxout))
