"""Recognition with numbers of fewer bits."""

from __future__ import annotations

import logging
import warnings
from contextlib import nullcontext
from typing import Literal, get_args

import torch
from torch import nn

from aedo.errors import UserError
from aedo.model.aed import AED
from aedo.nn.precision import EMULATED, emulates_bfloat16

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def precision_of(name: str, device: str) -> Precision:
    """The precision of this name.  float32, with a warning, where the device could only emulate bfloat16.

    UserError where `name` is none of the precisions.
    """
    for known in PRECISIONS:
        if known == name:
            if known == "bfloat16" and emulates_bfloat16(torch.device(device).type):
                log.warning(EMULATED)
                return "float32"
            return known
    raise UserError(f"--precision {name}: unknown; use {', '.join(PRECISIONS)}")


def lowered(model: AED, precision: Precision, device: torch.device) -> AED:
    """The model ready to compute in `precision`; `int8` replaces its linear layers by quantised ones.

    Weights become 8-bit integers with one scale a row, inputs are scaled by their largest value when they come (dynamic
    quantisation); everything else, convolutions and recurrences included, stays float32.  UserError on a GPU, where
    torch has no such layers.  Source: torch.ao.quantization.quantize_dynamic.
    """
    if precision != "int8":
        return model
    if device.type != "cpu":
        raise UserError(f"--precision int8 runs on the CPU alone, not on {device}; use bfloat16 or --device cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a package that will take this over
        torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            model, {nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig}, inplace=True
        )
    return model


def computing(precision: Precision, device: torch.device) -> torch.autocast | nullcontext[None]:
    """The context to run the model in: matrix products in bfloat16 where that is the precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
