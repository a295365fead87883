"""Conformer encoder.  B batch, T frames (after the front-end), D features."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.attention import SelfAttention, SelfAttentionConfig
from aedo.nn.convolution import ConvolutionConfig, ConvolutionModule
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.feedforward import FeedForward, FeedForwardConfig
from aedo.nn.masks import length_mask


class ConformerConfig(Part):
    layers: int = Field(12, ge=1)
    dim: int = Field(512, ge=1)
    feed_forward: FeedForwardConfig = FeedForwardConfig()
    attention: SelfAttentionConfig = SelfAttentionConfig()
    convolution: ConvolutionConfig = ConvolutionConfig()
    dropout: DropoutConfig = DropoutConfig()
    """After the front-end, inside the feed-forward networks and before every residual sum."""

    def build(self) -> Conformer:
        return Conformer([self._block() for _ in range(self.layers)])

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
    def __init__(self, blocks: list[ConformerBlock]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)

    def forward(self, x: Tensor, lengths: Tensor, collect: tuple[int, ...] = ()) -> Encoded:
        """x [B, T, D], lengths [B] on the CPU; `collect`: numbers (from 1) of the layers whose output is wanted."""
        mask, frames = length_mask(lengths, x.shape[1], x.device), int(lengths.sum())
        collected: dict[int, Tensor] = {}
        for number, block in enumerate(self.layers, start=1):
            x = block(x, mask, frames)
            if number in collect:
                collected[number] = x
        return Encoded(x, lengths, mask, collected)
