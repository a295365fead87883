"""Conformer encoder.  B batch, T frames (after the front-end), D features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.advance import END
from aedo.nn.attention import SelfAttention, SelfAttentionConfig
from aedo.nn.convolution import ConvolutionConfig, ConvolutionModule
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.feedforward import FeedForward, FeedForwardConfig
from aedo.nn.masks import length_mask
from aedo.nn.pooling import pool_time
from aedo.nn.rates import values_of
from aedo.nn.windows import Chunks
from aedo.schedule import Progress, Scheduled, Steps, value_at


class ConformerConfig(Part):
    layers: int = Field(12, ge=1)
    dim: int = Field(512, ge=1)
    feed_forward: FeedForwardConfig = FeedForwardConfig()
    attention: SelfAttentionConfig = SelfAttentionConfig()
    convolution: ConvolutionConfig = ConvolutionConfig()
    dropout: DropoutConfig = DropoutConfig()
    """After the front-end, inside the feed-forward networks and before every residual sum."""
    dropout_behind_attention: bool = True
    """Dropout also before the residual sum behind self-attention, where older systems forgot it."""
    growth: tuple[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], ...] = ()
    """The training's first stages, as (length, layers in use from below); behind them, all layers are in use."""
    growth_unit: Literal["micro_step", "epoch"] = "micro_step"
    """In what the lengths of the stages are counted: micro-steps or sub-epochs."""
    width: Scheduled = 1.0
    """Share of each block's heads, hidden units and convolution channels in use over the training."""
    pooling: Scheduled = 1.0
    """Frames of the front-end of which training takes the maximum before the first block."""
    chunk: int | None = Field(None, ge=1)
    """Frames of the chunks that training cuts utterances into; recognition sees them whole."""

    @model_validator(mode="after")
    def _check(self) -> ConformerConfig:
        if any(not 0 < share <= 1 for share in values_of(self.width)) or value_at(self.width, END) != 1:
            raise ValueError(f"width must lie between 0 and 1 and end at 1: {self.width}")
        if any(factor < 1 for factor in values_of(self.pooling)) or value_at(self.pooling, END) != 1:
            raise ValueError(f"pooling must be at least 1 and end there: {self.pooling}")
        return self

    def build(self) -> Conformer:
        return Conformer([self._block() for _ in range(self.layers)], self.depth(), self.pooling, self.chunk)

    def depth(self) -> Steps:
        """Layers in use over the training."""
        ends = accumulate(length for length, _ in self.growth)
        layers = (*(min(n, self.layers) for _, n in self.growth), self.layers)
        return Steps(unit=self.growth_unit, nodes=tuple(ends), values=layers)

    def _block(self) -> ConformerBlock:
        dim, width = self.dim, self.width
        return ConformerBlock(
            dim,
            (self.feed_forward.build(dim, self.dropout, width), self.feed_forward.build(dim, self.dropout, width)),
            self.attention.build(dim, width),
            self.convolution.build(dim, width),
            self.dropout.build(),
            dropout_behind_attention=self.dropout_behind_attention,
        )


@dataclass(frozen=True)
class Encoded:
    """What the encoder knows of a batch."""

    states: Tensor
    """[B, T, D], output of the top layer."""
    lengths: Tensor
    """[B] int64, on the CPU, in encoder frames."""
    mask: Tensor
    """[B, T] bool on the model's device, True on valid frames."""
    layers: dict[int, Tensor]
    """Outputs of the layers asked for, by their number counted from 1."""

    def select(self, rows: Tensor) -> Encoded:
        """The utterances at `rows` ([R] int64, CPU)."""
        here = rows.to(self.states.device)
        layers = {number: states[here] for number, states in self.layers.items()}
        return Encoded(self.states[here], self.lengths[rows], self.mask[here], layers)


class ConformerBlock(nn.Module):
    """Half feed-forward, self-attention, convolution, half feed-forward, pre-norm with residuals; a norm at the end.

    Source: Gulati et al. 2020; dropout behind the attention is the "fix245" of the reference.
    """

    def __init__(
        self,
        dim: int,
        feed_forwards: tuple[FeedForward, FeedForward],
        attention: SelfAttention,
        convolution: ConvolutionModule,
        dropout: Dropout,
        *,
        dropout_behind_attention: bool,
    ) -> None:
        super().__init__()
        self.dropout_behind_attention = dropout_behind_attention
        self.ff1, self.ff2 = feed_forwards
        self.attention, self.convolution, self.dropout = attention, convolution, dropout
        self.ff1_norm, self.ff2_norm = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attention_norm, self.convolution_norm = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.final_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor, frames: int) -> Tensor:
        """x [B, T, D], mask [B, T], frames: number of valid ones -> [B, T, D]."""
        x = x + 0.5 * self.dropout(self.ff1(self.ff1_norm(x)))
        attended = self.attention(self.attention_norm(x), mask)
        x = x + (self.dropout(attended) if self.dropout_behind_attention else attended)
        x = x + self.dropout(self.convolution(self.convolution_norm(x), mask, frames))
        x = x + 0.5 * self.dropout(self.ff2(self.ff2_norm(x)))
        y: Tensor = self.final_norm(x)
        return y


class Conformer(nn.Module):
    """A stack of blocks, of which the lower ones alone are in use where a training grows its encoder.

    Where a training pools in front of it, frames get fewer by as much: for a while, CTC has no room for some
    utterances, whose loss is then 0.
    """

    def __init__(
        self, blocks: list[ConformerBlock], depth: Steps, pooling: Scheduled = 1.0, chunk: int | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        self.depth, self.in_use = depth, len(blocks)
        self.pooling, self.pooled, self.chunk = pooling, 1, chunk

    def advance(self, progress: Progress) -> None:
        """Use as many layers and pool as many frames as belong to this point of the training."""
        self.in_use, self.pooled = round(self.depth.at(progress)), round(value_at(self.pooling, progress))

    def forward(self, x: Tensor, lengths: Tensor, collect: tuple[int, ...] = ()) -> Encoded:
        """x [B, T, D], lengths [B] on the CPU; `collect`: numbers (from 1) of the layers whose output is wanted.

        For a layer that is not in use yet this is the output of the highest one in use.
        """
        if self.pooled > 1:
            x, lengths = pool_time(x, lengths, self.pooled)
        if self.chunk is None or not self.training:
            return self._run(x, lengths, collect)
        chunks = Chunks(lengths, x.shape[1], self.chunk, x.device)
        alone = self._run(chunks.cut(x), chunks.lengths, collect)
        layers = {number: chunks.stitch(states) for number, states in alone.layers.items()}
        return Encoded(chunks.stitch(alone.states), lengths, length_mask(lengths, x.shape[1], x.device), layers)

    def _run(self, x: Tensor, lengths: Tensor, collect: tuple[int, ...]) -> Encoded:
        mask, frames = length_mask(lengths, x.shape[1], x.device), int(lengths.sum())
        collected: dict[int, Tensor] = {}
        for number, block in enumerate(self.layers, start=1):
            if number <= self.in_use:
                x = block(x, mask, frames)
            if number in collect:
                collected[number] = x
        return Encoded(x, lengths, mask, collected)
