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
from aedo.nn.width import Width
from aedo.nn.windows import within_window
from aedo.schedule import Scheduled


class SelfAttentionConfig(Part):
    heads: int = Field(8, ge=1)
    position: PositionsConfig = ClippedPositionsConfig()
    dropout: Rate = 0.1
    """Dropout of the attention weights."""
    dropout_share: WeightShare = "none"
    """none: a mask per weight; all_but_keys: one over the keys for the whole batch (the original before its fix)."""

    window: int | None = Field(None, ge=1)
    """Keys around every query that training sees, one more to the right if even; recognition sees all."""
    init_scale: float = Field(1.0, gt=0)
    """Factor of the variance with which the weights of queries, keys and values start."""

    def build(self, dim: int, width: Scheduled = 1.0) -> SelfAttention:
        """`width`: share of the heads in use over the training."""
        return SelfAttention(
            dim,
            self.heads,
            self.position.build(dim, self.heads),
            WeightDropout(self.dropout, self.dropout_share),
            Width(width, group=dim // self.heads),
            window=self.window,
            init_scale=self.init_scale,
        )


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
        width: Width,
        *,
        window: int | None,
        init_scale: float,
    ) -> None:
        super().__init__()
        self.heads, self.position, self.dropout, self.width = heads, position, dropout, width
        self.window, self.init_scale = window, init_scale
        self.qkv = linear(dim, 3 * dim, bias=position.biased, scale=init_scale)
        self.out = linear(dim, dim, bias=position.biased)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] True on valid frames -> [B, T, D]."""
        batch, frames, dim = x.shape
        qkv = self.qkv(x).view(batch, frames, self.heads, 3, dim // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)  # each [B, H, T, E]
        query, position_scores = self.position(query)
        scores = (query @ key.transpose(-1, -2) + position_scores) / math.sqrt(dim // self.heads)
        seen = mask[:, None, None, :]
        if self.window is not None and self.training:
            seen = within_window(mask, self.window)
        scores = scores.masked_fill(~seen, float("-inf"))
        weights = self.dropout(scores.softmax(-1))  # [B, H, T, T]
        context = (weights @ value).transpose(1, 2).reshape(batch, frames, dim)
        y: Tensor = self.out(self.width(context))
        return y
