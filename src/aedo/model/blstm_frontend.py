"""Recurrent front-end: bidirectional LSTM layers, each followed by max-pooling over time.

B batch, T frames, T' frames after it, F mel filters, C channels, H units of a direction, D model features.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.features.logmel import Features
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.init import glorot_, glorot_convolution_, linear
from aedo.nn.masks import length_mask
from aedo.nn.pooling import pool_bands, pool_time, pooled

Pool = Annotated[int, Field(ge=1)]


class BlstmFrontendConfig(Part):
    kind: Literal["blstm"] = "blstm"
    units: int = Field(512, ge=1)
    """Of each direction."""
    time_pools: tuple[Pool, ...] = Field((3, 2), min_length=1)
    """A layer for each: frames of its output of which the maximum is taken; their product is the downsampling."""
    channels: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Of 3 x 3 convolutions before the first layer, each followed by max-pooling over bands, without activation."""
    band_pool: int = Field(2, ge=1)
    """Bands of which the maximum is taken behind every convolution."""

    @property
    def downsampling(self) -> int:
        return math.prod(self.time_pools)

    def build(self, features: int, dim: int, dropout: DropoutConfig) -> BlstmFrontend:
        convolutions = [
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in zip((1, *self.channels), self.channels)
        ]
        for _ in convolutions:
            features = -(-features // self.band_pool)
        inputs = features * (self.channels[-1] if self.channels else 1)
        layers = [Blstm(2 * self.units if index else inputs, self.units) for index in range(len(self.time_pools))]
        projection = linear(2 * self.units, dim, bias=False)
        return BlstmFrontend(convolutions, self.band_pool, layers, self.time_pools, projection, dropout.build())


class Blstm(nn.Module):
    """One LSTM layer from left to right and one from right to left, which starts at each utterance's own end.

    Both start as the reference's LSTM: Glorot uniform on the whole matrices, zero biases.  torch keeps two biases for
    each gate, of which only the sum counts.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, units, batch_first=True)
        self.backwards = nn.LSTM(inputs, units, batch_first=True)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                glorot_(parameter, parameter.shape[1], parameter.shape[0])
            else:
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [B, T, I], lengths [B] on the CPU -> [B, T, 2H]; what padding gives is of no meaning."""
        at = torch.arange(x.shape[1])
        turned = torch.where(at < lengths[:, None], lengths[:, None] - 1 - at, at)  # [B, T]: frame to read at each
        turned = turned.to(x.device, non_blocking=True)[..., None]
        ahead, back = _run(self.forwards, x), _run(self.backwards, x.take_along_dim(turned, 1))
        return torch.cat([ahead, back.take_along_dim(turned, 1)], -1)


def _run(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """The layer's outputs; in float32 where torch has no LSTM of float16, on the CPU."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16:
        with torch.autocast("cpu", enabled=False):
            return cast(Tensor, lstm(x.float())[0])
    return cast(Tensor, lstm(x)[0])


class BlstmFrontend(nn.Module):
    """Features [B, T, F] -> frames [B, T', D].  Source of the pooling between the layers: Zeyer et al. 2018."""

    def __init__(
        self,
        convolutions: list[nn.Conv2d],
        band_pool: int,
        layers: list[Blstm],
        time_pools: tuple[int, ...],
        projection: nn.Linear,
        dropout: Dropout,
    ) -> None:
        super().__init__()
        for convolution in convolutions:
            glorot_convolution_(convolution)
        self.convolutions, self.layers = nn.ModuleList(convolutions), nn.ModuleList(layers)
        self.band_pool, self.time_pools = band_pool, time_pools
        self.projection, self.dropout = projection, dropout

    def lengths(self, frames: Tensor) -> Tensor:
        """Output frames for a number of feature frames, [B] -> [B]."""
        for factor in self.time_pools:
            frames = pooled(frames, factor)
        return frames

    def forward(self, features: Features) -> Tensor:
        x, lengths = self._convolve(features), features.lengths
        for layer, factor in zip(cast(list[Blstm], list(self.layers)), self.time_pools):
            x, lengths = pool_time(layer(x, lengths), lengths, factor)
        y: Tensor = self.dropout(self.projection(x))
        return y

    def _convolve(self, features: Features) -> Tensor:
        """[B, T, F] -> [B, T, F' C], frequency-major; the features themselves where there are no convolutions."""
        if not self.convolutions:
            return features.values
        valid = length_mask(features.lengths, features.values.shape[1], features.values.device)[:, None, :, None]
        x = features.values[:, None]  # [B, C, T, F]
        for convolution in self.convolutions:
            x = pool_bands(convolution(x.masked_fill(~valid, 0.0)), self.band_pool)
        return x.permute(0, 2, 3, 1).flatten(2)
