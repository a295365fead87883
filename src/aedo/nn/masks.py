"""Masks from lengths.  Lengths live on the CPU; the mask is made once per batch and moved without waiting."""

from __future__ import annotations

import torch
from torch import Tensor


def length_mask(lengths: Tensor, longest: int, device: torch.device) -> Tensor:
    """[B] lengths -> [B, longest] bool, True on valid positions."""
    mask = torch.arange(longest)[None, :] < lengths[:, None]
    return mask.to(device, non_blocking=True)
