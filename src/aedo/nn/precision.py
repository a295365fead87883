"""Where sums and exponentials need more digits than the model's matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def single(x: Tensor) -> Tensor:
    """x in float32; in float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()
