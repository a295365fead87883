"""Conformer encoder.  B batch, T frames (after the front-end), D features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.attention import SelfAttention, SelfAttentionConfig
from aedo.nn.convolution import ConvolutionConfig, ConvolutionModule
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.feedforward import FeedForward, FeedForwardConfig
from aedo.nn.masks import length_mask
from aedo.schedule import Progress, Steps


class ConformerConfig(Part):
    layers: int = Field(12, ge=1)
    dim: int = Field(512, ge=1)
    feed_forward: FeedForwardConfig = FeedForwardConfig()
    attention: SelfAttentionConfig = SelfAttentionConfig()
    convolution: ConvolutionConfig = ConvolutionConfig()
    dropout: DropoutConfig = DropoutConfig()
    """After the front-end, inside the feed-forward networks and before every residual sum."""
    growth: tuple[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], ...] = ()
    """The training's first stages, as (micro-steps, layers in use from below); behind them, all layers are in use."""

    def build(self) -> Conformer:
        return Conformer([self._block() for _ in range(self.layers)], self.depth())

    def depth(self) -> Steps:
        """Layers in use over the training."""
        ends = accumulate(steps for steps, _ in self.growth)
        return Steps(nodes=tuple(ends), values=(*(min(n, self.layers) for _, n in self.growth), self.layers))

    def _block(self) -> ConformerBlock:
        return ConformerBlock(
            self.dim,
            (self.feed_forward.build(self.dim, self.dropout), self.feed_forward.build(self.dim, self.dropout)),
            self.attention.build(self.dim),
            self.convolution.build(self.dim),
            self.dropout.build(),
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
    ) -> None:
        super().__init__()
        self.ff1, self.ff2 = feed_forwards
        self.attention, self.convolution, self.dropout = attention, convolution, dropout
        self.ff1_norm, self.ff2_norm = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attention_norm, self.convolution_norm = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.final_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor, frames: int) -> Tensor:
        """x [B, T, D], mask [B, T], frames: number of valid ones -> [B, T, D]."""
        x = x + 0.5 * self.dropout(self.ff1(self.ff1_norm(x)))
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        x = x + self.dropout(self.convolution(self.convolution_norm(x), mask, frames))
        x = x + 0.5 * self.dropout(self.ff2(self.ff2_norm(x)))
        y: Tensor = self.final_norm(x)
        return y


class Conformer(nn.Module):
    """A stack of blocks, of which the lower ones alone are in use where a training grows its encoder."""

    def __init__(self, blocks: list[ConformerBlock], depth: Steps) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        self.depth, self.in_use = depth, len(blocks)

    def advance(self, progress: Progress) -> None:
        """Use as many layers as belong to this point of the training."""
        self.in_use = round(self.depth.at(progress))

    def forward(self, x: Tensor, lengths: Tensor, collect: tuple[int, ...] = ()) -> Encoded:
        """x [B, T, D], lengths [B] on the CPU; `collect`: numbers (from 1) of the layers whose output is wanted.

        For a layer that is not in use yet this is the output of the highest one in use.
        """
        mask, frames = length_mask(lengths, x.shape[1], x.device), int(lengths.sum())
        collected: dict[int, Tensor] = {}
        for number, block in enumerate(self.layers, start=1):
            if number <= self.in_use:
                x = block(x, mask, frames)
            if number in collect:
                collected[number] = x
        return Encoded(x, lengths, mask, collected)
