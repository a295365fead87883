"""Multi-head self-attention with relative positions.  B batch, T frames, D features, H heads, E = D / H."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.init import linear
from aedo.nn.positions import ClippedPositions, ClippedPositionsConfig, PositionsConfig, TransformerXLPositions

WeightShare = Literal["none", "all_but_keys"]


class SelfAttentionConfig(Part):
    heads: int = Field(8, ge=1)
    position: PositionsConfig = ClippedPositionsConfig()
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of the attention weights."""
    dropout_share: WeightShare = "none"
    """none: a mask per weight; all_but_keys: one over the keys for the whole batch (the original before its fix)."""

    def build(self, dim: int) -> SelfAttention:
        position = self.position.build(dim, self.heads)
        return SelfAttention(dim, self.heads, position, self.dropout, self.dropout_share)


class SelfAttention(nn.Module):
    """Softmax((content + position scores) / sqrt(E)) over the valid keys.

    The columns of the fused projection are grouped by head, then query, key, value (the reference's layout).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        position: ClippedPositions | TransformerXLPositions,
        dropout: float,
        dropout_share: WeightShare,
    ) -> None:
        super().__init__()
        self.heads, self.position = heads, position
        self.dropout, self.dropout_share = dropout, dropout_share
        self.qkv, self.out = linear(dim, 3 * dim, bias=position.biased), linear(dim, dim, bias=position.biased)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] True on valid frames -> [B, T, D]."""
        batch, frames, dim = x.shape
        qkv = self.qkv(x).view(batch, frames, self.heads, 3, dim // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)  # each [B, H, T, E]
        query, position_scores = self.position(query)
        scores = (query @ key.transpose(-1, -2) + position_scores) / math.sqrt(dim // self.heads)
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
        weights = self._drop(scores.softmax(-1))  # [B, H, T, T]
        context = (weights @ value).transpose(1, 2).reshape(batch, frames, dim)
        y: Tensor = self.out(context)
        return y

    def _drop(self, weights: Tensor) -> Tensor:
        return drop_weights(weights, self.dropout, self.dropout_share) if self.training else weights


def drop_weights(weights: Tensor, rate: float, share: WeightShare) -> Tensor:
    """Dropout of attention weights [..., keys]."""
    if rate == 0.0:
        return weights
    shape = weights.shape if share == "none" else (*[1] * (weights.dim() - 1), weights.shape[-1])
    keep = weights.new_empty(shape).bernoulli_(1.0 - rate)
    return weights * keep.div_(1.0 - rate)
