"""Values made once more for the gradients instead of being kept for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class _View(NamedTuple):
    """Into what is remade."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int


def remade(make: Callable[[Tensor], Tensor], use: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """use(make(x)).  Whatever `use` would keep of make(x) is made from x once more when its gradient is due.

    The same numbers: worth it where `make` is quick beside `use` and keeps x for itself, as a norm or an activation in
    front of a matrix does.  `make` draws no random numbers and changes nothing.  On CPUs; elsewhere nothing is remade.
    """
    y = make(x)
    remakes = x.device.type == "cpu" and torch.is_grad_enabled() and y.requires_grad and y.is_contiguous()
    if not remakes:
        return use(y)
    place, offset, kind = y.untyped_storage().data_ptr(), int(y.storage_offset()), y.dtype
    source = x.detach()

    def pack(kept: Tensor) -> Tensor | _View:
        if kept.untyped_storage().data_ptr() != place or kept.dtype != kind:
            return kept
        return _View(kept.shape, kept.stride(), int(kept.storage_offset()) - offset)

    def unpack(kept: Tensor | _View) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            again = make(source)
        return again.as_strided(kept.shape, kept.stride, kept.offset + again.storage_offset())

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return use(y)
