"""Convolutional front-end: three convolutions over time and frequency that shorten time by six.

B batch, T frames, T' frames after it, F mel filters, C channels, D model features.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.features.logmel import Features
from aedo.nn.convolution import Padding
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.init import glorot_convolution_, linear
from aedo.nn.masks import length_mask
from aedo.nn.pair_convolution import pair_convolution
from aedo.nn.pooling import pool_bands, pooled


class ConvFrontendConfig(Part):
    kind: Literal["conv"] = "conv"
    channels: tuple[int, int, int] = (32, 64, 64)
    time_strides: tuple[int, int, int] = (1, 3, 2)
    """Frames each convolution moves on; their product is the downsampling factor."""
    kernel: int = Field(3, ge=1)
    band_pool: int = Field(2, ge=1)
    """Max-pooling over mel bands after the first convolution."""
    padding: Padding = "consistent"

    @property
    def downsampling(self) -> int:
        return math.prod(self.time_strides)

    def build(self, features: int, dim: int, dropout: DropoutConfig) -> ConvFrontend:
        convolutions = [
            nn.Conv2d(inputs, outputs, self.kernel, stride=(stride, 1))
            for inputs, outputs, stride in zip((1, *self.channels), self.channels, self.time_strides)
        ]
        bands = -(-features // self.band_pool)
        projection = linear(bands * self.channels[-1], dim, bias=False)
        return ConvFrontend(convolutions, self.band_pool, projection, dropout.build(), self.padding)


class ConvFrontend(nn.Module):
    """Features [B, T, F] -> frames [B, T', D].  Source: RETURNN, ConformerConvSubsample."""

    def __init__(
        self, convolutions: list[nn.Conv2d], band_pool: int, projection: nn.Linear, dropout: Dropout, padding: Padding
    ) -> None:
        super().__init__()
        for convolution in convolutions:
            glorot_convolution_(convolution)
        self.convolutions = nn.ModuleList(convolutions)
        self.projection, self.dropout = projection, dropout
        self.band_pool, self.padding = band_pool, padding

    @property
    def downsampling(self) -> int:
        """Feature frames for one of its own."""
        return math.prod(convolution.stride[0] for convolution in self._layers())

    def lengths(self, frames: Tensor) -> Tensor:
        """Output frames for a number of feature frames, [B] -> [B]."""
        for convolution in self._layers():
            frames = pooled(frames, convolution.stride[0])
        return frames

    def convolve(self, features: Features) -> Tensor:
        """[B, T, F] -> [B, T', F' C], frequency-major."""
        x, lengths = features.values[:, None], features.lengths  # [B, 1, T, F]
        for index, convolution in enumerate(self._layers()):
            if self.padding == "consistent":
                x = x * length_mask(lengths, x.shape[2], x.device)[:, None, :, None].to(x.dtype)
            x = nn.functional.pad(x, (*self._band_pads(x, convolution), *self._time_pads(x, convolution)))
            x = self._first(x, convolution) if index == 0 else nn.functional.relu(convolution(x))
            lengths = pooled(lengths, convolution.stride[0])
        return x.permute(0, 2, 3, 1).flatten(2)

    def _first(self, x: Tensor, convolution: nn.Conv2d) -> Tensor:
        """The first convolution, whose bands are pooled: x [B, 1, T, F] padded -> [B, C, T', F / pool]."""
        if self._in_pairs(x, convolution):
            bias = cast(Tensor, convolution.bias)
            return pair_convolution(x[:, 0], convolution.weight, bias, convolution.stride[0])
        x = convolution(x)
        if self.band_pool > 1:
            x = pool_bands(x, self.band_pool)
        if x.device.type == "cpu":  # the others, of many channels, are faster this way
            x = x.contiguous(memory_format=torch.channels_last)
        return nn.functional.relu(x)  # behind the pooling it is the same, of fewer bands

    def _in_pairs(self, x: Tensor, convolution: nn.Conv2d) -> bool:
        """Whether the quicker way of trainings on CPUs is open."""
        bands = x.shape[3] - convolution.kernel_size[1] + 1
        wanted = torch.is_grad_enabled() and not x.requires_grad
        return wanted and x.device.type == "cpu" and self.band_pool == 2 and bands % 2 == 0

    def forward(self, features: Features) -> Tensor:
        y: Tensor = self.dropout(self.projection(self.convolve(features)))
        return y

    def _layers(self) -> list[nn.Conv2d]:
        return cast(list[nn.Conv2d], list(self.convolutions))

    def _time_pads(self, x: Tensor, convolution: nn.Conv2d) -> tuple[int, int]:
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        if self.padding == "consistent":
            return (kernel - 1) // 2, kernel // 2
        total = max(0, kernel - 1 - (x.shape[2] - 1) % stride)  # TensorFlow's "same", on the padded length
        return total // 2, total - total // 2

    @staticmethod
    def _band_pads(x: Tensor, convolution: nn.Conv2d) -> tuple[int, int]:
        kernel = convolution.kernel_size[1]
        return (kernel - 1) // 2, kernel // 2
