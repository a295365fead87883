"""Multi-head self-attention with relative positions.  B batch, T frames, D features, H heads, E = D / H."""

from __future__ import annotations

from pydantic import Field, model_validator
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.attend import Fused, attention, check_fused
from aedo.nn.dropout import WeightDropout, WeightShare
from aedo.nn.init import linear
from aedo.nn.past import Past, past_mask, with_past
from aedo.nn.positions import ClippedPositionsConfig, Positions, PositionsConfig
from aedo.nn.qk_norm import QKNorm, QKNormKind, qk_norm
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
    qk_norm: QKNormKind | None = None
    """Normalise queries and keys per head, before positions come in; the position scores see the normed queries."""
    fused: Fused = "evaluation"
    """Where torch's fused kernels compute it: in evaluation and recognition (the same numbers to 1e-5); always: in
    training too, where other dropout masks are drawn, and a GPU need not repeat gradients to the last bit."""

    @model_validator(mode="after")
    def _check(self) -> SelfAttentionConfig:
        check_fused(self.fused, self.dropout, self.dropout_share)
        return self

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
            qk_norm=None if self.qk_norm is None else qk_norm(self.qk_norm, self.heads, dim // self.heads),
            fused=self.fused,
        )


class SelfAttention(nn.Module):
    """Softmax((content + position scores) / sqrt(E)) over the valid keys.

    The columns of the fused projection are grouped by head, then query, key, value (the reference's layout).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        position: Positions,
        dropout: WeightDropout,
        width: Width,
        *,
        window: int | None,
        init_scale: float,
        qk_norm: QKNorm | None,
        fused: Fused,
    ) -> None:
        super().__init__()
        self.heads, self.position, self.dropout, self.width = heads, position, dropout, width
        self.window, self.init_scale, self.fused = window, init_scale, fused
        self.qk_norm = qk_norm
        self.qkv = linear(dim, 3 * dim, bias=position.biased, scale=init_scale)
        self.out = linear(dim, dim, bias=position.biased)

    def forward(self, x: Tensor, mask: Tensor, past: Past | None = None) -> Tensor:
        """x [B, T, D], mask [B, T] True on valid frames; of chunks, the past that they see, too -> [B, T, D]."""
        batch, frames, dim = x.shape
        qkv = self.qkv(x).view(batch, frames, self.heads, 3, dim // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4).contiguous()  # each [B, H, T, E]
        if past is not None:
            own = qkv[:, :, :, 1:].flatten(2)
            seen = with_past(past.before(own), own).view(batch, -1, self.heads, 2, dim // self.heads)
            key, value = seen.permute(3, 0, 2, 1, 4)
            mask = past_mask(past, mask)
        if self.qk_norm is not None:
            query, key = self.qk_norm(query, key)
        query, key, scores = self.position(query, key, 0 if past is None else past.first)
        seen = mask[:, None, None, :]
        if self.window is not None and self.training:
            seen = within_window(mask, self.window)
        context = attention(query, key, value, seen, scores, self.dropout, self.fused)  # [B, H, T, E]
        y: Tensor = self.out(self.width(context.transpose(1, 2).reshape(batch, frames, dim)))
        return y
