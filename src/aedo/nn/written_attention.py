"""Scaled dot-product attention with its gradients written out, for training without fused kernels.

B batch, H heads, Q queries, K keys, E features of a head.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aedo.nn.precision import autocast_kind


def written_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
    added: Tensor | None,
    keep: Tensor | None,
    factor: float = 1.0,
) -> Tensor:
    """(softmax((query . key + added) / sqrt(E)) over the keys seen, times `keep` `factor`) . value -> [B, H, Q, E].

    query [B, H, Q, E], key and value [B, H, K, E], seen bool and `keep` uint8 (zeros where dropout strikes, else ones)
    of shapes that grow to [B, H, Q, K], which `added` has.  Of that size, nothing is stored but `keep` and, in the type
    of the matrix products, the weights.
    """
    kind = autocast_kind(query.device.type)
    if kind is not None:
        query, key, value = query.to(kind), key.to(kind), value.to(kind)
        added = None if added is None else added.to(kind)
    floor = torch.zeros_like(seen, dtype=query.dtype).masked_fill_(~seen, float("-inf"))
    context: Tensor = _Attention.apply(query, key, value, floor, added, keep, factor)  # type: ignore[no-untyped-call]
    return context


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        floor: Tensor,
        added: Tensor | None,
        keep: Tensor | None,
        factor: float,
    ) -> Tensor:
        shape, scale = (*query.shape[:3], key.shape[2]), 1.0 / math.sqrt(query.shape[3])  # [B, H, Q, K]
        q, k, v = query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)  # each [B H, .., E]
        scores = (
            _product(q, k.mT, scale)
            if added is None
            else torch.baddbmm(added.flatten(0, 1), q, k.mT, beta=scale, alpha=scale)
        )
        weights = scores.view(shape).add_(floor).softmax(-1, dtype=scores.dtype)
        ctx.added, ctx.scale, ctx.factor = added is not None, scale, factor
        ctx.save_for_backward(q, k, v, weights, keep)
        return _product(_kept(weights, keep).flatten(0, 1), v, factor).view(query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, keep = ctx.saved_tensors
        context = gradient.to(q.dtype).flatten(0, 1)  # [B H, Q, E]
        to_value = _product(_kept(weights, keep).flatten(0, 1).mT, context, ctx.factor)
        to_weights = _product(context, v.mT, ctx.factor).view(weights.shape)
        if keep is not None:
            to_weights.mul_(keep)
        # The softmax's own gradient, with the scale behind it.
        to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype).mul_(ctx.scale)
        flat = to_scores.flatten(0, 1)
        to_query, to_key = torch.bmm(flat, k), torch.bmm(flat.mT, q)
        heads = weights.shape[:2]
        return (
            to_query.view(*heads, *to_query.shape[1:]),
            to_key.view(*heads, *to_key.shape[1:]),
            to_value.view(*heads, *to_value.shape[1:]),
            None,
            to_scores if ctx.added else None,
            None,
            None,
        )


def _kept(weights: Tensor, keep: Tensor | None) -> Tensor:
    return weights if keep is None else weights * keep


def _product(a: Tensor, b: Tensor, factor: float) -> Tensor:
    """Of batches of matrices, times a number that costs nothing."""
    return torch.baddbmm(a.new_zeros(()), a, b, beta=0, alpha=factor)
