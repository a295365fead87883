"""E-Branchformer encoder: self-attention and convolutional gating side by side.  B batch, T frames, D features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from aedo.model.encoder import Encoder, StackConfig
from aedo.nn.attention import SelfAttention
from aedo.nn.cgmlp import ConvolutionalGating, ConvolutionalMerge, GatingConfig
from aedo.nn.convolution import Padding
from aedo.nn.dropout import Dropout
from aedo.nn.feedforward import FeedForward
from aedo.nn.norms import BlockNorm, block_norm
from aedo.nn.recompute import remade


class EBranchformerConfig(StackConfig):
    kind: Literal["ebranchformer"] = "ebranchformer"
    gating: GatingConfig = GatingConfig()
    """The convolutional branch beside self-attention."""
    merge_kernel: int = Field(3, ge=1)
    """Frames that the convolution over both branches sees; an even one sees one more to the right."""
    padding: Padding = "consistent"

    def build(self) -> Encoder:
        return self.stack([self._block() for _ in range(self.layers)])

    def _block(self) -> EBranchformerBlock:
        dim, width = self.dim, self.width
        return EBranchformerBlock(
            dim,
            (self.feed_forward.build(dim, self.dropout, width), self.feed_forward.build(dim, self.dropout, width)),
            self.attention.build(dim, width),
            self.gating.build(dim, self.dropout, self.padding, width),
            ConvolutionalMerge(dim, self.merge_kernel, self.padding),
            self.dropout.build(),
            self.norm,
        )


class EBranchformerBlock(nn.Module):
    """Half feed-forward; self-attention beside convolutional gating, merged; half feed-forward; a norm at the end.

    All pre-norm with residuals.  Source: Kim et al. 2022 (E-Branchformer); dropout on each branch and behind the merge
    as in ESPnet and RETURNN.
    """

    def __init__(
        self,
        dim: int,
        feed_forwards: tuple[FeedForward, FeedForward],
        attention: SelfAttention,
        gating: ConvolutionalGating,
        merge: ConvolutionalMerge,
        dropout: Dropout,
        norm: BlockNorm,
    ) -> None:
        super().__init__()
        self.ff1, self.ff2 = feed_forwards
        self.attention, self.gating, self.merge, self.dropout = attention, gating, merge, dropout
        self.ff1_norm, self.ff2_norm = block_norm(norm, dim), block_norm(norm, dim)
        self.attention_norm, self.gating_norm = block_norm(norm, dim), block_norm(norm, dim)
        self.final_norm = block_norm(norm, dim)

    def forward(self, x: Tensor, mask: Tensor, frames: int) -> Tensor:
        """x [B, T, D], mask [B, T]; the number of valid frames is of no use here -> [B, T, D]."""
        x = x + 0.5 * self.dropout(remade(self.ff1_norm, self.ff1, x))
        attended = self.dropout(remade(self.attention_norm, lambda y: self.attention(y, mask), x))
        gated = self.dropout(remade(self.gating_norm, lambda y: self.gating(y, mask), x))
        x = x + self.dropout(self.merge(attended, gated, mask))
        x = x + 0.5 * self.dropout(remade(self.ff2_norm, self.ff2, x))
        y: Tensor = self.final_norm(x)
        return y
