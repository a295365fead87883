"""Linear layers of any width, their output in rows that begin where CPUs like them to.  N rows, I inputs, O outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aedo.nn.precision import autocast_kind

MULTIPLE = 16
"""In single precision, products whose rows begin at other numbers take half as long again."""


def aligned(layer: nn.Module, x: Tensor) -> Tensor:
    """layer(x); of a plain linear layer, on CPUs in single precision, a view into rows that are a bit longer."""
    if type(layer) is not nn.Linear or layer.bias is None or layer.out_features % MULTIPLE == 0:
        return layer(x)  # type: ignore[no-any-return]
    if x.device.type != "cpu" or x.dtype != torch.float32 or autocast_kind("cpu") is not None:
        return layer(x)  # type: ignore[no-any-return]
    rows: Tensor = _Aligned.apply(x.reshape(-1, layer.in_features), layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return rows.view(*x.shape[:-1], -1)


class _Aligned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        width = len(weight)
        rows = x.new_empty(len(x), -(-width // MULTIPLE) * MULTIPLE)[:, :width]
        return torch.addmm(bias, x, weight.T, out=rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.T @ x, gradient.sum(0)
