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


def computed_units(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Units kept and, up to the next multiple, some that are dropped: [F] -> [K] int64, ascending; and all others.

    K is at least one multiple, even where none is kept.  CPUs only.
    """
    multiples = max(1, -(-int(keep.count_nonzero()) // MULTIPLE))
    count = min(multiples * MULTIPLE, len(keep))
    kept_first = (keep == 0).to(torch.uint8).argsort(stable=True)
    return kept_first[:count].sort().values, kept_first[count:]


class _SparseSquaredReLU(torch.autograd.Function):
    """Keeps the hidden units for the gradients, but not the matrices cut to them: those are cut once more."""

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
        ctx.units, ctx.others = units, _ = computed_units(keep)
        rows, columns = _cut(hidden, out, keep, units, x.dtype)
        bias = None if hidden_bias is None else hidden_bias.index_select(0, units).to(x.dtype)
        active = product(x, rows, bias).relu_()  # [N, K]
        ctx.biased = hidden_bias is not None, out_bias is not None
        ctx.save_for_backward(x, hidden, out, keep, active)
        return product(active.square(), columns, None if out_bias is None else out_bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, out, keep, active = ctx.saved_tensors
        units, others, kind = ctx.units, ctx.others, keep.dtype
        rows, columns = _cut(hidden, out, keep, units, x.dtype)
        places = units.new_zeros(len(keep)).index_copy_(0, units, torch.arange(len(units)))  # of the others: anywhere
        to_out = (gradient.T @ active.square()).index_select(1, places).to(kind).mul_(keep)
        inner = product(gradient, columns.T).mul_(active).mul_(2.0)  # [N, K]
        to_hidden = (inner.T @ x).index_select(0, places).to(kind).index_fill_(0, others, 0.0)
        to_hidden_bias = to_out_bias = None
        if ctx.biased[0]:
            to_hidden_bias = inner.sum(0).index_select(0, places).to(kind).index_fill_(0, others, 0.0)
        if ctx.biased[1]:
            to_out_bias = gradient.sum(0).to(kind)
        return product(inner, rows.T), to_hidden, to_hidden_bias, to_out, to_out_bias, None


def _cut(hidden: Tensor, out: Tensor, keep: Tensor, units: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """The matrices of these units: [K, D], and [D, K] times what dropout multiplies them by."""
    columns = out.index_select(1, units).mul_(keep.index_select(0, units))
    return hidden.index_select(0, units).to(kind), columns.to(kind)
