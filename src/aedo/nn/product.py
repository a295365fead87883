"""Products of a few rows with a large matrix, outside autograd.  M rows, I inputs, O outputs."""

from __future__ import annotations

import platform
from collections.abc import Callable

import torch
from torch import Tensor


def product(x: Tensor, weight: Tensor) -> Tensor:
    """[M, I], [O, I] of the same dtype -> x weight^T, [M, O].  Has no gradient.

    In float32 on x86 processors by oneDNN where torch has it: for few rows about twice as fast as what torch itself
    chooses on processors that are not Intel's, and not slower on others.
    """
    if _ONEDNN is not None and x.dtype == torch.float32 and x.device.type == "cpu":
        return _ONEDNN(x, weight, None, "none", [], "")
    return x @ weight.t()


def _found() -> Callable[..., Tensor] | None:
    """torch's entry to oneDNN's product; None where there is none, or where another machine's build has it."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return None
    entry: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return entry


_ONEDNN = _found()
