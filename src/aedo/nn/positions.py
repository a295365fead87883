"""Positions for attention, relative and absolute.  T frames, H heads, E features of a head, D model features."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.dropout import Dropout
from aedo.nn.init import glorot_, linear
from aedo.nn.rates import Rate


class ClippedPositionsConfig(Part):
    """Learned vectors per clipped distance, added to the keys (Shaw et al. 2018); no biases in the attention."""

    kind: Literal["clipped"] = "clipped"
    clip: int = Field(16, ge=1)
    """Largest distance told apart."""
    dropout: Rate = 0.0
    """Dropout on the position vectors, drawn per distance and shared by batch and heads."""

    def build(self, dim: int, heads: int) -> ClippedPositions:
        return ClippedPositions(dim // heads, self.clip, Dropout(self.dropout, "none"))


class TransformerXLPositionsConfig(Part):
    """Projected sinusoids with two learned query biases (Dai et al. 2019); biases in the attention's projections."""

    kind: Literal["transformer_xl"] = "transformer_xl"
    dropout: Rate = 0.0
    """Dropout on the sinusoids, drawn per distance."""

    def build(self, dim: int, heads: int) -> TransformerXLPositions:
        return TransformerXLPositions(dim, heads, Dropout(self.dropout, "none"))


class RotaryPositionsConfig(Part):
    """Queries and keys turned by their position (Su et al. 2021); nothing learned, no biases in the attention."""

    kind: Literal["rotary"] = "rotary"

    def build(self, dim: int, heads: int) -> RotaryPositions:
        return RotaryPositions()


class NoPositionsConfig(Part):
    """Frames in no order: only the convolutions know it; no biases in the attention."""

    kind: Literal["none"] = "none"

    def build(self, dim: int, heads: int) -> NoPositions:
        return NoPositions()


PositionsConfig = Annotated[
    ClippedPositionsConfig | TransformerXLPositionsConfig | RotaryPositionsConfig | NoPositionsConfig,
    Field(discriminator="kind"),
]


class Positioned(NamedTuple):
    """Queries and keys that know their places."""

    query: Tensor
    """[B, H, T, E], for the product with the keys."""
    key: Tensor
    """[B, H, T, E]."""
    scores: Tensor | None = None
    """[B, H, Q, T] (query, key), to be added to that product before it is scaled."""


def distances(queries: int, keys: int, first: int, device: torch.device) -> Tensor:
    """All distances from a query to a key, the query i standing at key `first` + i -> [Q + T - 1], ascending."""
    return torch.arange(1 - queries, keys, device=device) - first


def relative_shift(scores: Tensor) -> Tensor:
    """[..., Q, Q + T - 1] by (query i, distance d + Q - 1) -> [..., Q, T] by (query i, key j), d = j - i."""
    shifted: Tensor = _RelativeShift.apply(scores)  # type: ignore[no-untyped-call]
    return shifted


class _RelativeShift(torch.autograd.Function):
    """A view, whose gradient is written into zeros at once; torch's own views would fill and copy three times."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        ctx.shape = scores.shape
        return _shifted(scores.contiguous())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        full = gradient.new_zeros(ctx.shape)
        _shifted(full).copy_(gradient)
        return full


def _shifted(scores: Tensor) -> Tensor:
    """Row i must start at column Q - 1 - i: from row to row that is a constant stride of Q + T - 2."""
    *lead, queries, count = scores.shape
    stride, first = scores.stride(), scores.storage_offset() + queries - 1
    return scores.as_strided((*lead, queries, count - queries + 1), (*stride[:-2], max(count - 1, 1), 1), first)


class RelativePositionTable(nn.Embedding):
    """The learned vectors, [2 clip + 1, E]; zero at the start, as in the reference."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


class ClippedPositions(nn.Module):
    def __init__(self, head_dim: int, clip: int, dropout: Dropout) -> None:
        super().__init__()
        self.clip, self.dropout = clip, dropout
        self.table = RelativePositionTable(2 * clip + 1, head_dim)

    biased = False

    def forward(self, query: Tensor, key: Tensor, first: int = 0) -> Positioned:
        """query [B, H, Q, E], key [B, H, T, E]; the first query stands at key `first`."""
        distance = distances(query.shape[-2], key.shape[-2], first, query.device)
        vectors = self.dropout(self.table(distance.clamp_(-self.clip, self.clip) + self.clip))  # [Q + T - 1, E]
        return Positioned(query, key, relative_shift(query @ vectors.T))


class TransformerXLPositions(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: Dropout) -> None:
        super().__init__()
        self.dim, self.heads, self.dropout = dim, heads, dropout
        self.projection = linear(dim, dim, bias=False)
        self.content_bias = nn.Parameter(glorot_(torch.empty(heads, dim // heads), heads, dim // heads))
        self.position_bias = nn.Parameter(glorot_(torch.empty(heads, dim // heads), heads, dim // heads))

    biased = True

    def forward(self, query: Tensor, key: Tensor, first: int = 0) -> Positioned:
        """query [B, H, Q, E], key [B, H, T, E]; the first query stands at key `first`."""
        distance = distances(query.shape[-2], key.shape[-2], first, query.device)
        sinusoids = relative_sinusoids(distance, self.dim).to(self.projection.weight.dtype)
        vectors = self.projection(self.dropout(sinusoids)).view(len(distance), self.heads, -1)
        scores = (query + self.position_bias[:, None]) @ vectors.permute(1, 2, 0)  # [B, H, Q, Q + T - 1]
        return Positioned(query + self.content_bias[:, None], key, relative_shift(scores))


class RotaryPositions(nn.Module):
    biased = False

    def forward(self, query: Tensor, key: Tensor, first: int = 0) -> Positioned:
        """query [B, H, Q, E], key [B, H, T, E], E even; the first query stands at key `first`."""
        return Positioned(rotated(query, first), rotated(key, 0))


class NoPositions(nn.Module):
    biased = False

    def forward(self, query: Tensor, key: Tensor, first: int = 0) -> Positioned:
        """query [B, H, Q, E], key [B, H, T, E]."""
        return Positioned(query, key)


Positions = ClippedPositions | TransformerXLPositions | RotaryPositions | NoPositions


def relative_sinusoids(distance: Tensor, dim: int) -> Tensor:
    """Sine in the first half, cosine in the second, for distances [N] -> [N, D]."""
    frequency = torch.exp(torch.arange(0, dim, 2, device=distance.device) * (-math.log(1e4) / dim))
    angle = distance[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def absolute_sinusoids(first: int | Tensor, count: int, dim: int, device: torch.device) -> Tensor:
    """Sine in the first half, cosine in the second, for the positions `first` .. -> [count, D], D even.

    `first` may be a tensor [...] of positions: -> [..., count, D].

    Wavelengths from 2 pi to 2e4 pi, both ends included.  Source: tensor2tensor, add_timing_signal; Vaswani et al. 2017
    interleave the two and leave the last wavelength out.
    """
    steps = torch.arange(dim // 2, device=device) * (-math.log(1e4) / max(dim // 2 - 1, 1))
    angle = _positions(first, count, device)[..., None] * steps.exp()
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def rotated(x: Tensor, first: int | Tensor) -> Tensor:
    """[..., U, E] with each pair of features (2i, 2i + 1) turned by position x 1e4^(-2i / E), positions from `first`.

    `first` may be a tensor of positions that broadcasts with x without its last two dimensions.

    Source: Su et al. 2021 (RoFormer).
    """
    *_, count, dim = x.shape
    frequency = torch.exp(torch.arange(0, dim, 2, device=x.device) * (-math.log(1e4) / dim))
    angle = _positions(first, count, x.device)[..., None] * frequency  # [..., U, E / 2]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def _positions(first: int | Tensor, count: int, device: torch.device) -> Tensor:
    """`first` .. -> [count], or [..., count] of a tensor [...]."""
    if isinstance(first, int):
        return torch.arange(first, first + count, device=device)
    return first[..., None] + torch.arange(count, device=device)
