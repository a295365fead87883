"""Multi-head self-attention with relative positions.  B batch, T frames, D features, H heads, E = D / H."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.dropout import WeightDropout, WeightShare
from aedo.nn.init import linear
from aedo.nn.positions import ClippedPositions, ClippedPositionsConfig, PositionsConfig, TransformerXLPositions
from aedo.nn.rates import Rate


class SelfAttentionConfig(Part):
    heads: int = Field(8, ge=1)
    position: PositionsConfig = ClippedPositionsConfig()
    dropout: Rate = 0.1
    """Dropout of the attention weights."""
    dropout_share: WeightShare = "none"
    """none: a mask per weight; all_but_keys: one over the keys for the whole batch (the original before its fix)."""

    def build(self, dim: int) -> SelfAttention:
        position = self.position.build(dim, self.heads)
        return SelfAttention(dim, self.heads, position, WeightDropout(self.dropout, self.dropout_share))


class SelfAttention(nn.Module):
    """Softmax((content + position scores) / sqrt(E)) over the valid keys.

    The columns of the fused projection are grouped by head, then query, key, value (the reference's layout).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        position: ClippedPositions | TransformerXLPositions,
        dropout: WeightDropout,
    ) -> None:
        super().__init__()
        self.heads, self.position, self.dropout = heads, position, dropout
        self.qkv, self.out = linear(dim, 3 * dim, bias=position.biased), linear(dim, dim, bias=position.biased)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] True on valid frames -> [B, T, D]."""
        batch, frames, dim = x.shape
        qkv = self.qkv(x).view(batch, frames, self.heads, 3, dim // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)  # each [B, H, T, E]
        query, position_scores = self.position(query)
        scores = (query @ key.transpose(-1, -2) + position_scores) / math.sqrt(dim // self.heads)
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
        weights = self.dropout(scores.softmax(-1))  # [B, H, T, T]
        context = (weights @ value).transpose(1, 2).reshape(batch, frames, dim)
        y: Tensor = self.out(context)
        return y
