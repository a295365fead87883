"""The Conformer's convolution module, and the convolution over time in it.  B batch, T frames, D features."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.depthwise import depthwise
from aedo.nn.init import glorot_convolution_, linear
from aedo.nn.norms import BatchNormConfig, FrameLayerNorm, LayerNormConfig, MaskedBatchNorm
from aedo.nn.past import Past, with_past
from aedo.nn.recompute import remade
from aedo.nn.width import Width
from aedo.schedule import Scheduled

Padding = Literal["consistent", "batch"]
"""consistent: padding is zero for every convolution, so a result does not depend on the rest of the batch.
batch: the original's behaviour, where it does (needed only for exact parity with imported checkpoints)."""


class DepthwiseConvolution(nn.Conv1d):
    """Every feature convolved over time on its own, [B, T, D] -> [B, T, D]; outside an utterance are zeros."""

    def __init__(self, dim: int, kernel: int, padding: Padding) -> None:
        super().__init__(dim, dim, kernel, groups=dim)
        glorot_convolution_(self)
        self.zero_padding, self.pads = padding == "consistent", ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor, mask: Tensor, past: Past | None = None) -> Tensor:  # type: ignore[override]
        """x [B, T, D], mask [B, T] True on valid frames; what padding gives is of no meaning.

        In front of chunks stands the past that they see.
        """
        y = self.convolve(self.padded(x, mask, past))
        return y if past is None else y[:, -x.shape[1] :]

    def padded(self, x: Tensor, mask: Tensor, past: Past | None = None) -> Tensor:
        """All that the kernel sees, [B, T, D] -> [B, past + T + kernel - 1, D]."""
        if self.zero_padding:
            x = x.masked_fill(~mask[..., None], 0.0)
        if past is not None:
            x = with_past(past.before(x), x)
        return nn.functional.pad(x, (0, 0, *self.pads))

    def convolve(self, x: Tensor) -> Tensor:
        """Of what is padded already."""
        if x.device.type == "cpu":
            return depthwise(x, self.weight, self.bias)
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ConvolutionConfig(Part):
    kernel: int = Field(32, ge=1)
    """Frames the depthwise convolution sees; an even one sees one more to the right."""
    norm: Annotated[BatchNormConfig | LayerNormConfig, Field(discriminator="kind")] = BatchNormConfig()
    padding: Padding = "consistent"

    def build(self, dim: int, width: Scheduled = 1.0) -> ConvolutionModule:
        """`width`: share of the channels in use over the training; a LayerNorm sees the others too."""
        return ConvolutionModule(dim, self.kernel, self.norm.build(dim), Width(width), self.padding)


class ConvolutionModule(nn.Module):
    """Pointwise, GLU, depthwise over time, norm, swish, pointwise.  Source: Gulati et al. 2020 (Conformer)."""

    def __init__(
        self, dim: int, kernel: int, norm: MaskedBatchNorm | FrameLayerNorm, width: Width, padding: Padding
    ) -> None:
        super().__init__()
        self.pointwise_in, self.pointwise_out = linear(dim, 2 * dim), linear(dim, dim)
        self.depthwise = DepthwiseConvolution(dim, kernel, padding)
        self.norm, self.width = norm, width

    def forward(self, x: Tensor, mask: Tensor, frames: int, past: Past | None = None) -> Tensor:
        """x [B, T, D], mask [B, T], frames: number of valid ones, past of chunks -> [B, T, D]."""
        x = self.pointwise_in(x)
        if past is None:
            x = remade(partial(self._seen, mask=mask), self.depthwise.convolve, x)
        else:
            x = self.depthwise(nn.functional.glu(x, dim=-1), mask, past)
        return remade(nn.functional.silu, lambda y: self.pointwise_out(self.width(y)), self.norm(x, mask, frames))

    def _seen(self, x: Tensor, mask: Tensor) -> Tensor:
        """What the convolution over time sees of [B, T, 2 D]."""
        return self.depthwise.padded(nn.functional.glu(x, dim=-1), mask)
