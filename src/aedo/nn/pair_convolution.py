"""A convolution of one channel whose bands are pooled in pairs, for training on CPUs.

B batch, T frames, F bands of the convolution, C channels, S x S its kernel.  As products with the kernel's surroundings
([B T F / 2, S S], for the first and for the second bands of all pairs) it takes less time than as a convolution, and
its output and its gradient, by far the largest tensors of a front-end, are made at the size of the pooled bands.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aedo.nn.precision import autocast_kind


def pair_convolution(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """relu(maximum over pairs of bands of (x * weight + bias)).  Of equals, the first one learns.

    x [B, T stride + S - 1, F + S - 1] padded, without gradient, F even; weight [C, 1, S, S], bias [C]; stride of time
    -> [B, C, T, F / 2], its channels side by side in memory.
    """
    kind = autocast_kind(x.device.type) or x.dtype
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = _PairConvolution.apply(x.to(kind), weight, bias, stride)  # type: ignore[no-untyped-call]
    return y.permute(0, 3, 1, 2)


class _PairConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        surroundings = _surroundings(x, weight.shape[-1], stride)
        batch, frames, pairs = surroundings.shape[:3]
        matrix, offset = weight.flatten(1).to(x.dtype), bias.to(x.dtype)
        first, second = (
            torch.nn.functional.linear(surroundings[..., band, :, :].flatten(0, 2).flatten(1), matrix, offset)
            for band in range(2)
        )
        first_is_larger = first >= second
        y = torch.maximum(first, second, out=second).relu_()
        positive = y > 0
        ctx.stride, ctx.kernel = stride, weight.shape
        ctx.save_for_backward(x, bias, positive & first_is_larger, positive & ~first_is_larger)
        return y.view(batch, frames, pairs, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, None]:
        x, bias, *chosen = ctx.saved_tensors
        surroundings = _surroundings(x, ctx.kernel[-1], ctx.stride)
        flat = gradient.flatten(0, 2)  # [B T F / 2, C]
        to_weight, to_bias = bias.new_zeros(len(bias), ctx.kernel[1:].numel()), torch.zeros_like(bias)
        of_band = torch.empty_like(flat)
        for band, here in enumerate(chosen):
            torch.mul(flat, here.view(torch.uint8), out=of_band)
            to_weight += of_band.T @ surroundings[..., band, :, :].flatten(0, 2).flatten(1)
            to_bias += of_band.sum(0)
        return None, to_weight.view(ctx.kernel), to_bias, None


def _surroundings(x: Tensor, kernel: int, stride: int) -> Tensor:
    """What the kernel covers around every band of every pair: [B, T, F / 2, 2, S, S], a view."""
    bands = x.unfold(1, kernel, stride).unfold(2, kernel, 1)  # [B, T, F, S, S]
    return torch.unflatten(bands, 2, (-1, 2))
