"""Where sums and exponentials need more digits than the model's matrices."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

EMULATED = (
    "bfloat16: this processor has no instructions for it and would need several times as long as in float32; "
    "computing in float32 instead"
)


def single(x: Tensor) -> Tensor:
    """x in float32; in float64 where it is that already."""
    return x if x.dtype == torch.float64 else x.float()


@cache
def emulates_bfloat16(device: str) -> bool:
    """Whether matrix products in bfloat16 on this kind of device are made of many float32 instructions.

    So they are on x86 processors older than its extensions AVX512_BF16 and AMX: a product takes five times as long
    there as in float32.  False where torch does not say what the processor can.
    """
    if device != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    known = processor()
    return bool(known) and not any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))


def processor() -> Mapping[str, object]:
    """What torch knows of this processor, by torch's names; nothing where torch is too old to tell."""
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return known


def autocast_kind(device: str) -> torch.dtype | None:
    """The type of matrix products under autocast on this kind of device; None without."""
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)
