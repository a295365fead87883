"""Products of a few rows with a large matrix, outside autograd.  M rows, I inputs, O outputs."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aedo.nn.precision import processor


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., I], [O, I] (or that of `packed`), [O] of the same dtype -> x weight^T + bias, [..., O].  Has no gradient.

    In float32 on x86 processors by oneDNN where torch has it: for few rows about twice as fast as what torch itself
    chooses on processors that are not Intel's, and not slower on others.  For many rows torch's choice is by a
    twentieth faster on Intel's.
    """
    if _ONEDNN is not None and (weight.is_mkldnn or _by_onednn(x)):
        return _ONEDNN.product(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


def _by_onednn(x: Tensor) -> bool:
    few = not _INTEL or x.numel() < _MANY * x.shape[-1]
    return few and x.dtype == torch.float32 and x.device.type == "cpu"


def packed(weight: Tensor, rows: int) -> Tensor:
    """A copy of a matrix [O, I] in the order in which `product` reads it fastest, for about so many rows.

    Worth it from some five products on.  On other processors or in other types the matrix as it is.
    """
    if not packs(weight):
        return weight
    assert _ONEDNN is not None
    return _ONEDNN.pack(weight.detach().contiguous(), rows)


def packs(weight: Tensor) -> bool:
    """Whether there is another order for such a matrix."""
    return _ONEDNN is not None and weight.device.type == "cpu" and weight.dtype in _ONEDNN.packs


class _OneDnn(NamedTuple):
    """torch's entries to oneDNN, meant for its compiler."""

    product: Callable[..., Tensor]
    pack: Callable[[Tensor, int], Tensor]
    packs: tuple[torch.dtype, ...]


def _found() -> _OneDnn | None:
    """None where there are none, or where a build for other processors has them."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    entries = torch.ops.mkldnn
    names = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if not all(hasattr(entries, name) for name in names):
        return None
    halves = (torch.bfloat16,) if entries._is_mkldnn_bf16_supported() else ()
    return _OneDnn(entries._linear_pointwise, entries._reorder_linear_weight, (torch.float32, *halves))


_ONEDNN = _found()
_INTEL = "Intel" in str(processor().get("cpu_name"))
_MANY = 400
"""Rows."""
