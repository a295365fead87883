"""Where sums and exponentials need more digits than the model's matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def single(x: Tensor) -> Tensor:
    """x in float32; in float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()


def autocast_kind(device: str) -> torch.dtype | None:
    """The type of matrix products under autocast on this kind of device; None without."""
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)
