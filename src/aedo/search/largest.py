"""The largest of many scores."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 64
_MANY, _EACH = 8192, 512
"""Two passes are quicker than one from so many scores on, and from so many for each one wanted."""


def largest(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of [..., N], as torch's topk gives them: values and places [..., count], largest first.

    On CPUs two passes where N is large: the largest of all are among the blocks with the largest maxima, and maxima
    are found much faster than a heap is kept.  Equal scores may come in another order than topk's.
    """
    size = x.shape[-1]
    if x.is_cuda or size < max(_MANY, _EACH * count):
        values, places = x.topk(count, -1)
        return values, places
    blocks = size // _BLOCK
    parts = x[..., : blocks * _BLOCK].view(*x.shape[:-1], blocks, _BLOCK)
    first = parts.amax(-1).topk(count, -1).indices  # [..., count]
    places = (first[..., None] * _BLOCK + torch.arange(_BLOCK, device=x.device)).flatten(-2)
    rest = torch.arange(blocks * _BLOCK, size, device=x.device)
    places = torch.cat([places, rest.expand(*places.shape[:-1], len(rest))], -1)
    values, chosen = x.gather(-1, places).topk(count, -1)
    return values, places.gather(-1, chosen)
