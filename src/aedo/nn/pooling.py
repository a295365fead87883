"""Max-pooling over time that padding never enters, and over bands.  B batch, T frames, D features, F bands."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aedo.nn.masks import length_mask


def pooled(lengths: Tensor, factor: int) -> Tensor:
    """Frames left by `pool_time`, the last of which may stand for fewer than the others."""
    return (lengths + factor - 1).div(factor, rounding_mode="floor")


def pool_time(x: Tensor, lengths: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Maximum over every `factor` valid frames: x [B, T, D], lengths [B] on the CPU -> both, shorter; padding is 0."""
    x = x.masked_fill(~length_mask(lengths, x.shape[1], x.device)[..., None], float("-inf"))
    x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % factor), value=float("-inf"))
    x, lengths = x.view(x.shape[0], -1, factor, x.shape[2]).amax(2), pooled(lengths, factor)
    return x.masked_fill(~length_mask(lengths, x.shape[1], x.device)[..., None], 0.0), lengths


def pool_bands(x: Tensor, factor: int) -> Tensor:
    """Maximum over every `factor` bands: [B, C, T, F] -> [B, C, T, F / factor]."""
    missing = -x.shape[3] % factor
    if missing:
        x = nn.functional.pad(x, (missing // 2, missing - missing // 2), value=float("-inf"))
    if factor == 2:
        pooled_pairs: Tensor = _LargerOfPairs.apply(x)  # type: ignore[no-untyped-call]
        return pooled_pairs
    return nn.functional.max_pool2d(x, (1, factor))


class _LargerOfPairs(torch.autograd.Function):
    """[..., 2F] -> [..., F].  On CPUs torch's own pooling takes ten times as long.  Of equals, the first one learns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        first, second = x[..., 0::2], x[..., 1::2]
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (is_first,) = ctx.saved_tensors
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        to_first = gradient * is_first.to(gradient.dtype)
        return torch.stack([to_first, gradient.sub_(to_first)], -1).flatten(-2)
