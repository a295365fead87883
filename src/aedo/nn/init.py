"""Initialisation of the reference: Glorot uniform on the whole matrix, zero biases."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def glorot_(weight: Tensor, fan_in: int, fan_out: int, scale: float = 1.0) -> Tensor:
    """Fill with U(-a, a), a = sqrt(6 scale / (fan_in + fan_out)).  Source: Glorot & Bengio 2010."""
    limit = math.sqrt(6.0 * scale / (fan_in + fan_out))
    with torch.no_grad():
        return weight.uniform_(-limit, limit)


def linear(inputs: int, outputs: int, *, bias: bool = True, scale: float = 1.0) -> nn.Linear:
    """nn.Linear with the reference's initialisation; `scale`: as in `glorot_`."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    glorot_(layer.weight, inputs, outputs, scale)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def glorot_convolution_(layer: nn.Conv1d | nn.Conv2d) -> None:
    """The reference's fans for convolutions: the groups shrink the fan in, not the fan out."""
    area = math.prod(layer.kernel_size)
    glorot_(layer.weight, layer.in_channels // layer.groups * area, layer.out_channels * area)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
