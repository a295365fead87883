"""The decoder of a streaming model: the LSTM decoder, attending to one chunk after the other.

B batch, K hypotheses, M chunks of an utterance, T kept frames of a chunk, D encoder features, A attention features,
E features of the label embedding, H LSTM units, G attention heads, V vocabulary, N packed labels; end of chunk = EOS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aedo.conventions import EOS
from aedo.model.decoder import DecoderOutput, placed
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels, Packing, pack
from aedo.model.lstm_decoder import LstmDecoderConfig, LstmDecoderMemory, LstmDecoderState
from aedo.nn.additive_attention import AdditiveAttention
from aedo.nn.dropout import Dropout
from aedo.nn.embedding import TargetEmbedding
from aedo.nn.init import linear
from aedo.nn.lstm import ZoneoutLstm
from aedo.nn.recurrence import Repeated
from aedo.nn.search_layers import Products

BEGIN = -1
"""In the place of a label before the first: its embedding is zero."""


def build_chunked_decoder(config: LstmDecoderConfig, dim: int, vocabulary: int, frames: int) -> ChunkedLstmDecoder:
    """The decoder of this configuration for chunks of so many kept frames, with the parameters of `LstmDecoder`."""
    context = config.attention_heads * dim
    lstm = config.lstm(config.embedding_dim + context)
    return ChunkedLstmDecoder(
        frames,
        TargetEmbedding(vocabulary, config.embedding_dim, config.embedding_std),
        config.attention(dim),
        lstm,
        linear(config.lstm_dim + config.embedding_dim + context, config.readout_dim),
        config.readout_dropout.build(),
        linear(config.readout_dim // 2, vocabulary),
    )


@dataclass(frozen=True)
class ChunkedMemory:
    """All chunks of every utterance."""

    chunks: LstmDecoderMemory
    """[B, M, T, ...] each, and fertility [B, M, G, T]."""
    last: Tensor
    """[B] int64 on the model's device, each utterance's last chunk."""

    def select(self, rows: Tensor) -> ChunkedMemory:
        """The utterances at `rows` ([R] int64 on the memory's device)."""
        return ChunkedMemory(self.chunks.select(rows), self.last[rows])

    def at(self, rows: Tensor, chunks: Tensor) -> LstmDecoderMemory:
        """Those chunks of those utterances, [...] int64 both -> [..., T, D] and so on."""
        return self.chunks.select((rows, chunks))  # type: ignore[arg-type]


@dataclass(frozen=True)
class ChunkedState:
    """Hypotheses and the chunk each has come to."""

    decoder: LstmDecoderState
    """Of [B, K]; weights are those over the frames of the chunk."""
    chunk: Tensor
    """[B, K] int64."""

    def gather(self, rows: Tensor, back: Tensor) -> ChunkedState:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        return ChunkedState(self.decoder.gather(rows, back), self.chunk[rows[:, None], back])

    def put(self, columns: Tensor, new: ChunkedState, taken: Tensor) -> ChunkedState:
        """With the hypotheses of `new` [B, K'] in the places `columns` [B, K'] where `taken` [B, K'] bool."""
        chunk = placed(self.chunk, columns, new.chunk, taken)
        return ChunkedState(self.decoder.put(columns, new.decoder, taken), chunk)


class ChunkedLstmDecoder(nn.Module):
    """p(label | labels before, chunk).  An end of chunk moves on to the next chunk; in the last one it ends all.

    The LSTM's state and the last context go with the labels over the borders of chunks, the feedback of attention
    weights begins anew with each.  The input before the first label is the zero vector.
    Source: Zeineldeen et al. 2023; the reference's chunked decoder.
    """

    def __init__(
        self,
        frames: int,
        embedding: TargetEmbedding,
        attention: AdditiveAttention,
        lstm: ZoneoutLstm,
        readout: nn.Linear,
        readout_dropout: Dropout,
        output: nn.Linear,
    ) -> None:
        """frames: T."""
        super().__init__()
        self.products = Products()
        self.frames = frames
        self.embedding, self.attention, self.lstm = embedding, attention, lstm
        self.readout, self.readout_dropout, self.output = readout, readout_dropout, output

    def forward(self, encoded: Encoded, labels: Labels, *, keep_attention: bool = False) -> DecoderOutput:
        """Teacher-forced logits of `labels`, in which each chunk's end stands behind its labels."""
        if torch.is_grad_enabled():
            self.products.forget()
        packing = pack(labels.lengths, encoded.states.device)
        memory = self.memory(encoded)
        embedded = packing.take(nn.functional.pad(self.embedding(labels.ids[:, :-1]), (0, 0, 1, 0)))  # [N, E]
        moves = nn.functional.pad(labels.ids[:, :-1] == EOS, (1, 0)).cumsum(1)
        chunks = packing.take(torch.minimum(moves, memory.last[:, None]))  # [N]
        outputs, contexts, weights = self._attend(embedded, memory, packing, chunks)
        logits = self._read_out(outputs, embedded, contexts)
        attention = self._spread(weights, chunks, encoded.states.shape[1]) if keep_attention else None
        return DecoderOutput(logits, packing.take(labels.ids), packing, attention)

    def _attend(
        self, entering: Tensor, memory: ChunkedMemory, packing: Packing, chunks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loop over packed inputs [N, E] -> outputs [N, H], contexts [N, G D], mean attention weights [N, T]."""
        weight_entering, weight_context = self.lstm.weight_input.tensor_split([entering.shape[-1]], dim=1)
        recurrent = Repeated(torch.cat([self.lstm.weight_hidden, weight_context], 1))
        gates_entering = recurrent.begin(nn.functional.linear(entering, weight_entering, self.lstm.bias))  # [N, 4H]

        active = list(packing.active)
        state, states = self.lstm.start(active[0]), memory.chunks.states
        context = state.cell.new_zeros(active[0], self.attention.heads * states.shape[-1])
        accumulated = torch.zeros_like(memory.chunks.fertility[:, 0])[packing.order]  # [B, G, T]
        outputs, contexts, attentions = [], [], []
        before = chunks[: active[0]]
        steps = zip(*(torch.split(x, active) for x in (gates_entering, packing.rows, chunks)), strict=True)
        for gates, rows, here in steps:
            still = slice(len(gates))
            chunk = memory.at(rows, here)
            accumulated = accumulated[still].masked_fill((here != before[still])[:, None, None], 0.0)
            state, context, before = state.at(still), context[still], here
            output, state = self.lstm.move(gates + recurrent(torch.cat([state.hidden, context], -1)), state)
            weights = self.attention(self.attention.query(output), chunk.keys, accumulated, chunk.mask)
            accumulated = accumulated + weights * chunk.fertility
            context = torch.bmm(weights.to(states.dtype), chunk.states).flatten(1)
            outputs.append(output)
            contexts.append(context)
            attentions.append(weights.mean(-2))
        return torch.cat(outputs), torch.cat(contexts), torch.cat(attentions)

    def _spread(self, weights: Tensor, chunks: Tensor, frames: int) -> Tensor:
        """Weights within chunks [N, T] -> over all frames of the utterance."""
        places = chunks[:, None] * self.frames + torch.arange(self.frames, device=chunks.device)
        width = frames + -frames % self.frames
        return weights.new_zeros(len(weights), width).scatter(1, places, weights)[:, :frames]

    def memory(self, encoded: Encoded) -> ChunkedMemory:
        """Everything that does not depend on the labels."""
        batch, frames, dim = encoded.states.shape
        behind = -frames % self.frames
        states = nn.functional.pad(encoded.states, (0, 0, 0, behind)).view(batch, -1, self.frames, dim)
        mask = nn.functional.pad(encoded.mask, (0, behind)).view(batch, -1, self.frames)
        chunks = LstmDecoderMemory(states, self.attention.key(states), self.attention.fertilities(states), mask)
        last = (-(-encoded.lengths // self.frames) - 1).clamp_min(0)
        return ChunkedMemory(chunks, last.to(states.device, non_blocking=True))

    def start(self, memory: ChunkedMemory) -> ChunkedState:
        """One empty hypothesis per utterance, in the first chunk."""
        return ChunkedState(self.fresh(len(memory.last)), memory.last.new_zeros(len(memory.last), 1))

    def fresh(self, batch: int) -> LstmDecoderState:
        """The state of one empty hypothesis of each of so many utterances."""
        state = self.lstm.start(batch, 1)
        zeros, heads = state.cell.new_zeros, self.attention.heads
        return LstmDecoderState(
            state,
            None,
            zeros(batch, 1, heads * self.attention.key.in_features),
            zeros(batch, 1, heads, self.frames),
            zeros(batch, 1, self.frames),
        )

    def step(self, memory: ChunkedMemory, labels: Tensor | None, state: ChunkedState) -> tuple[Tensor, ChunkedState]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state).

        An end of chunk takes its hypothesis to the next one.
        """
        labels = torch.full_like(state.chunk, BEGIN) if labels is None else labels
        chunk = torch.minimum(state.chunk + (labels == EOS), memory.last[:, None])
        rows = torch.arange(len(chunk), device=chunk.device)[:, None].expand_as(chunk)
        decoder = self.entered(state.decoder, chunk != state.chunk)
        logits, following = self.step_in(memory.at(rows, chunk), labels, decoder)
        return logits, ChunkedState(following, chunk)

    @staticmethod
    def entered(state: LstmDecoderState, moved: Tensor) -> LstmDecoderState:
        """The state of hypotheses of which some (`moved` [B, K] bool) have come to another chunk."""
        return replace(state, accumulated=state.accumulated.masked_fill(moved[..., None, None], 0.0))

    def step_in(
        self, chunk: LstmDecoderMemory, labels: Tensor, state: LstmDecoderState
    ) -> tuple[Tensor, LstmDecoderState]:
        """One label (or BEGIN) further in a chunk [B, K or 1, T, ...]: labels [B, K] -> (logits [B, K, V], state)."""
        embedded = self.embedding(labels.clamp_min(0)).masked_fill((labels == BEGIN)[..., None], 0.0)
        output, recurrent = self.lstm.step((embedded, state.context), state.lstm, self.products)
        weights = self.attention.of_hypotheses(output, chunk.keys, state.accumulated, chunk.mask, self.products)
        context = (weights.to(chunk.states.dtype) @ chunk.states).flatten(2)  # [B, K, G D]
        accumulated = state.accumulated + weights * chunk.fertility
        following = LstmDecoderState(recurrent, None, context, accumulated, weights.mean(-2))
        return self._read_out(output, embedded, context), following

    def _read_out(self, output: Tensor, embedded: Tensor, context: Tensor) -> Tensor:
        hidden = self.readout(torch.cat([output, embedded, context], -1))
        maxout = hidden.unflatten(-1, (-1, 2)).amax(-1)  # over adjacent pairs
        logits: Tensor = self.output(self.readout_dropout(maxout))
        return logits
