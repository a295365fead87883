"""A convolution of every feature by itself, for training on CPUs.

B batch, N frames seen, T = N - K + 1 frames made, D features, K taps.  The gradient of the taps is a convolution by
itself: of every feature of every utterance, with its gradient in the place of the taps.  oneDNN takes two to ten times
as long for the same as a gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from aedo.nn.precision import autocast_kind


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [B, N, D] padded, weight [D, 1, K], bias [D] -> [B, T, D]."""
    kind = autocast_kind(x.device.type) or x.dtype
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = _Depthwise.apply(x.to(kind), weight, bias)  # type: ignore[no-untyped-call]
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        taps, offset = weight.to(x.dtype)[:, :, None], None if bias is None else bias.to(x.dtype)
        return _turned(torch.nn.functional.conv2d(_pictures(x), taps, offset, groups=len(weight)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            taps, shape = weight.to(x.dtype)[:, :, None], _pictures(x).shape
            of_pictures = conv2d_input(shape, taps, _pictures(gradient), groups=len(weight))  # type: ignore[no-untyped-call]
            to_x = _turned(of_pictures)
        if ctx.needs_input_grad[1]:
            every = x.shape[0] * x.shape[2]  # feature of every utterance
            of_each = torch.nn.functional.conv2d(
                x.transpose(1, 2).reshape(1, every, 1, -1),
                gradient.transpose(1, 2).reshape(every, 1, 1, -1),
                groups=every,
            )
            to_weight = of_each.view(x.shape[0], *weight.shape).to(weight.dtype).sum(0)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 1), dtype=weight.dtype)
        return to_x, to_weight, to_bias


def _pictures(x: Tensor) -> Tensor:
    """[B, N, D] -> [B, D, 1, N]: CPUs convolve pictures whose features lie side by side in memory, as they do here;
    sequences they turn around."""
    return x.transpose(1, 2)[:, :, None]


def _turned(x: Tensor) -> Tensor:
    """[B, D, 1, N] -> [B, N, D]."""
    return x[:, :, 0].transpose(1, 2)
