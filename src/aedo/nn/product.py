"""Products of a few rows with a large matrix, outside autograd.  M rows, I inputs, O outputs."""

from __future__ import annotations

import platform
from collections.abc import Callable

import torch
from torch import Tensor, nn


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., I], [O, I], [O] of the same dtype -> x weight^T + bias, [..., O].  Has no gradient.

    In float32 on x86 processors by oneDNN where torch has it: for few rows about twice as fast as what torch itself
    chooses on processors that are not Intel's, and not slower on others.
    """
    if _ONEDNN is not None and x.dtype == torch.float32 and x.device.type == "cpu":
        return _ONEDNN(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


class Products:
    """Linear layers of one search: under autocast their matrices are turned into its type once, not at every step.

    torch's own memory for that does not work without gradients.
    """

    def __init__(self) -> None:
        self._cast: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = {}

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """torch's linear layer, [..., I], [O, I], [O] -> [..., O]; where no gradients are wanted, by `product`."""
        if torch.is_grad_enabled():
            return torch.nn.functional.linear(x, weight, bias)
        device = x.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        return product(x.to(kind), self._as(weight, kind), None if bias is None else self._as(bias, kind))

    def layer(self, layer: nn.Module, x: Tensor) -> Tensor:
        """The same of a module, which may also be quantised."""
        if type(layer) is nn.Linear:
            return self(x, layer.weight, layer.bias)
        y: Tensor = layer(x)
        return y

    def _as(self, weight: Tensor, kind: torch.dtype) -> Tensor:
        if weight.dtype == kind:
            return weight
        at = (id(weight), kind)
        if at not in self._cast:
            self._cast[at] = (weight, weight.to(kind))  # holding on to the original: no other gets its id
        return self._cast[at][1]


def _found() -> Callable[..., Tensor] | None:
    """torch's entry to oneDNN's product; None where there is none, or where another machine's build has it."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    entry: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return entry


_ONEDNN = _found()
