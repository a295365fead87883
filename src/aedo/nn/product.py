"""Products of a few rows with a large matrix, outside autograd.  M rows, I inputs, O outputs."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., I], [O, I] (or that of `packed`), [O] of the same dtype -> x weight^T + bias, [..., O].  Has no gradient.

    In float32 on x86 processors by oneDNN where torch has it: for few rows about twice as fast as what torch itself
    chooses on processors that are not Intel's, and not slower on others.
    """
    if _ONEDNN is not None and (weight.is_mkldnn or (x.dtype == torch.float32 and x.device.type == "cpu")):
        return _ONEDNN.product(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


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


_WHOLE = 128
"""Packed matrices get so many outputs or a multiple: oneDNN takes 64 at a time and shares them out in pairs, and for an
odd number of them its product of 48 rows takes half as long again."""


class _Kept(NamedTuple):
    """A matrix made ready for searches."""

    original: Tensor
    """Held, so that no other gets its id."""
    state: tuple[int, int]
    """Of the original when it was made ready."""
    rows: int
    """For which it was."""
    ready: Tensor
    """May have more rows than the original: zeros."""


class Products:
    """Linear layers of searches: their matrices are packed, and turned into autocast's type, once and not every step.

    torch's own memory for the latter does not work without gradients.  A matrix that has changed since is made ready
    anew.  Copies of a model get an empty one.
    """

    MANY = 16
    """So many times as many rows as a matrix was packed for, or as few of them, and it is packed anew."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, torch.dtype], _Kept] = {}

    def __reduce__(self) -> tuple[type[Products], tuple[()]]:
        return Products, ()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """torch's linear layer, [..., I], [O, I], [O] -> [..., O]; where no gradients are wanted, by `product`."""
        if torch.is_grad_enabled():
            return torch.nn.functional.linear(x, weight, bias)
        device = x.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        matrix = self._of(weight, kind, x.numel() // x.shape[-1])
        outputs, more = len(weight), len(matrix) - len(weight)
        if bias is not None:
            bias = torch.nn.functional.pad(bias.to(kind), (0, more)) if more else bias.to(kind)
        y = product(x.to(kind), matrix, bias)
        return y[..., :outputs] if more else y

    def layer(self, layer: nn.Module, x: Tensor) -> Tensor:
        """The same of a module, which may also be quantised."""
        if type(layer) is nn.Linear:
            return self(x, layer.weight, layer.bias)
        y: Tensor = layer(x)
        return y

    def _of(self, weight: Tensor, kind: torch.dtype, rows: int) -> Tensor:
        at, state = (id(weight), kind), _state(weight)
        kept = self._kept.get(at)
        if kept is not None and kept.state == state and kept.rows <= self.MANY * rows <= self.MANY**2 * kept.rows:
            return kept.ready
        if rows < 4 and weight.dtype == kind:  # a search's first step
            return weight
        matrix = weight.to(kind)
        if packs(matrix) and len(matrix) > _WHOLE:
            matrix = torch.nn.functional.pad(matrix, (0, 0, 0, -len(matrix) % _WHOLE))
        self._kept[at] = _Kept(weight, state, rows, packed(matrix, rows))
        return self._kept[at].ready


def _state(weight: Tensor) -> tuple[int, int]:
    """Differs once a matrix has changed.  Tensors of inference mode do not count their changes: nobody trains them."""
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version


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
