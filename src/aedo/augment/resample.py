"""Features read between their frames.  B batch, T frames before, T' after, F mel bands."""

from __future__ import annotations

import torch
from torch import Tensor


def at_frames(values: Tensor, positions: Tensor, first: Tensor, last: Tensor, *, cubic: bool = False) -> Tensor:
    """The features at fractional positions, [B, T, F] at [B, T'] (or [1, T']) -> [B, T', F].

    first, last: frames (whole numbers, broadcast to the positions) beyond which nothing is read: there the edge is
    repeated.  Linear between two frames; or cubic through four, with the kernel that torch's `interpolate` has too
    (a = -0.75).
    """
    below = positions.floor()
    share = (positions - below)[..., None]  # [B, T', 1]
    first, last = first.to(below.dtype), last.to(below.dtype)

    def tap(offset: int) -> Tensor:
        index = (below + offset).maximum(first).minimum(last).clamp_min(0).long()  # [B, T']
        index = index[..., None].expand(values.shape[0], -1, values.shape[2])
        return values.gather(1, index)

    if not cubic:
        return torch.lerp(tap(0), tap(1), share)
    result = torch.zeros((), dtype=values.dtype, device=values.device)
    for offset in (-1, 0, 1, 2):
        result = result + tap(offset) * _cubic_weight((share - offset).abs())
    return result


def _cubic_weight(distance: Tensor, a: float = -0.75) -> Tensor:
    """Cubic convolution.  Source: Keys 1981."""
    near = ((a + 2) * distance - (a + 3)) * distance.square() + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, far)
