"""Numbers of fewer bits: autocast of the model, and the scale that keeps small gradients from vanishing in them."""

from __future__ import annotations

from typing import Literal

import torch

from aedo.nn.precision import emulates_bfloat16

Precision = Literal["float32", "bfloat16", "float16"]
ScalerChoice = Literal["auto", "on", "off"]

LEAST_SCALE = 1.0
"""Gradients that overflow even at this scale are no matter of scaling."""


def computed(device: torch.device, precision: Precision) -> Precision:
    """What `precision` means on this device: float32 where bfloat16 would only be slower."""
    return "float32" if precision == "bfloat16" and emulates_bfloat16(device.type) else precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Matrix products in `precision`, as far as it is `computed`; parameters stay float32.

    Source: Micikevicius et al. 2018.
    """
    kind = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=computed(device, precision) != "float32")


def gradient_scaler(precision: Precision, choice: ScalerChoice, device: torch.device) -> torch.amp.GradScaler | None:
    """Multiplies the loss by a power of two, which halves when gradients overflow; None where none is wanted.

    `auto`: for float16 only, whose smallest number is 6e-8; bfloat16 has the range of float32.
    """
    if choice == "off" or (choice == "auto" and precision != "float16"):
        return None
    scaler = torch.amp.GradScaler(device.type)
    scaler.scale(torch.zeros((), device=device))  # sets it up: an update may come before the first loss
    return scaler
