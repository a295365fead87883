"""Values made once more for the gradients instead of being kept for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def remade(make: Callable[[Tensor], Tensor], use: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """use(make(x)).  Whatever `use` would keep of make(x) is made from x once more when its gradient is due.

    The same numbers: worth it where `make` is quick beside `use` and keeps x for itself, as a norm or an activation in
    front of a matrix does.  `make` draws no random numbers and changes nothing.  On CPUs; elsewhere nothing is remade.
    """
    y = make(x)
    if x.device.type != "cpu" or not torch.is_grad_enabled() or not y.requires_grad:
        return use(y)
    place = y.data_ptr()
    of_y = (y.dtype, y.numel(), y.is_contiguous())
    source = x.detach()

    def pack(kept: Tensor) -> Any:
        if kept.data_ptr() == place and (kept.dtype, kept.numel(), kept.is_contiguous()) == of_y:
            return kept.shape
        return kept

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            return make(source).view(kept)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return use(y)
