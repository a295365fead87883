"""Feed-forward network whose dropped hidden units are not computed, for CPUs.

Where dropout drops hidden units for a whole batch, what they would have cost is saved.  N frames, D features, F hidden
units, K of them computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aedo.nn.precision import autocast_kind
from aedo.nn.product import product

MULTIPLE = 8
"""Matrix products are slow on CPUs where rows do not begin at multiples of this: a few dropped units are computed."""


def sparse_squared_relu(
    x: Tensor, hidden: Tensor, hidden_bias: Tensor | None, out: Tensor, out_bias: Tensor | None, keep: Tensor
) -> Tensor:
    """out (keep . relu(hidden x + hidden_bias)^2) + out_bias.

    x [..., D], hidden [F, D], hidden_bias [F], out [D, F], out_bias [D] -> [..., D]; keep [F]: zero for dropped units.
    """
    kind = autocast_kind(x.device.type) or x.dtype
    with torch.autocast(x.device.type, enabled=False):
        flat = x.reshape(-1, x.shape[-1]).to(kind)
        result: Tensor = _SparseSquaredReLU.apply(flat, hidden, hidden_bias, out, out_bias, keep)  # type: ignore[no-untyped-call]
    return result.view(*x.shape[:-1], -1)


def computed_units(keep: Tensor) -> Tensor:
    """Those kept and, up to the next multiple, some that are dropped: [F] -> [K] int64, ascending.  CPUs only."""
    count = min(-(-int(keep.count_nonzero()) // MULTIPLE) * MULTIPLE, len(keep))
    return (keep == 0).to(torch.uint8).argsort(stable=True)[:count].sort().values


class _SparseSquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        hidden: Tensor,
        hidden_bias: Tensor | None,
        out: Tensor,
        out_bias: Tensor | None,
        keep: Tensor,
    ) -> Tensor:
        units = computed_units(keep)
        factor = keep.index_select(0, units)
        rows, columns = hidden.index_select(0, units), out.index_select(1, units).mul_(factor)
        rows, columns = rows.to(x.dtype), columns.to(x.dtype)  # [K, D], [D, K]
        bias = None if hidden_bias is None else hidden_bias.index_select(0, units).to(x.dtype)
        active = product(x, rows, bias).relu_()  # [N, K]
        ctx.biased = hidden_bias is not None, out_bias is not None
        ctx.units, ctx.factor, ctx.of = units, factor, len(keep)
        ctx.save_for_backward(x, rows, columns, active)
        return product(active.square(), columns, None if out_bias is None else out_bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, rows, columns, active = ctx.saved_tensors
        units, factor, kind = ctx.units, ctx.factor, ctx.factor.dtype
        places = units.new_full((ctx.of,), len(units))  # dropped units find the zeros behind the others
        places[units] = torch.arange(len(units))
        to_columns = (gradient.T @ active.square()).to(kind).mul_(factor)
        to_out = torch.nn.functional.pad(to_columns, (0, 1)).index_select(1, places)
        inner = product(gradient, columns.T).mul_(active).mul_(2.0)  # [N, K]
        to_hidden = x.new_zeros(ctx.of, x.shape[1], dtype=kind).index_copy_(0, units, (inner.T @ x).to(kind))
        to_hidden_bias = to_out_bias = None
        if ctx.biased[0]:
            to_hidden_bias = to_hidden.new_zeros(ctx.of).index_copy_(0, units, inner.sum(0).to(kind))
        if ctx.biased[1]:
            to_out_bias = gradient.sum(0).to(kind)
        return product(inner, rows.T), to_hidden, to_hidden_bias, to_out, to_out_bias, None
