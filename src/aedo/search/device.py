"""The device to compute on, by the name given on the command line."""

from __future__ import annotations

import torch

from aedo.errors import UserError


def device_of(name: str) -> str:
    """`auto` is a GPU where there is one.  UserError where the named device is unknown or missing."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: unknown; use auto, cpu or cuda") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs; use --device cpu")
    return name
