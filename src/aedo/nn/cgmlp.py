"""The two convolutional parts of an E-Branchformer block.  B batch, T frames, D features, C hidden units of a half."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.convolution import DepthwiseConvolution, Padding
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.init import linear
from aedo.nn.width import Width
from aedo.schedule import Scheduled


class GatingConfig(Part):
    dim: int | None = Field(None, ge=1)
    """Hidden units of each half; None: three times the model's dimension."""
    kernel: int = Field(31, ge=1)
    """Frames that the gate's depthwise convolution sees; an even one sees one more to the right."""

    def build(self, dim: int, dropout: DropoutConfig, padding: Padding, width: Scheduled = 1.0) -> ConvolutionalGating:
        """`width`: share of the hidden units in use over the training; the gate's LayerNorm sees the others too."""
        hidden = 3 * dim if self.dim is None else self.dim
        return ConvolutionalGating(
            linear(dim, 2 * hidden),
            DepthwiseConvolution(hidden, self.kernel, padding),
            Width(width),
            dropout.build(),
            linear(hidden, dim),
        )


class ConvolutionalGating(nn.Module):
    """Linear, GELU; of the two halves the first is normed, convolved over time and multiplied to the second; linear.

    Source: Sakuma et al. 2022 (cgMLP); the order of the halves: RETURNN (ESPnet's is the other).
    """

    def __init__(
        self, hidden: nn.Linear, depthwise: DepthwiseConvolution, width: Width, dropout: Dropout, out: nn.Linear
    ) -> None:
        super().__init__()
        self.hidden, self.gate_norm, self.depthwise = hidden, nn.LayerNorm(out.in_features, eps=1e-6), depthwise
        self.width, self.dropout, self.out = width, dropout, out

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] True on valid frames -> [B, T, D]."""
        gate, values = nn.functional.gelu(self.hidden(x)).chunk(2, -1)  # [B, T, C] each
        gate = self.depthwise(self.gate_norm(gate), mask)
        y: Tensor = self.out(self.dropout(self.width(gate * values)))
        return y


class ConvolutionalMerge(nn.Module):
    """Two branches side by side, plus their depthwise convolution over time, projected.  Source: Kim et al. 2022."""

    def __init__(self, dim: int, kernel: int, padding: Padding) -> None:
        super().__init__()
        self.depthwise, self.out = DepthwiseConvolution(2 * dim, kernel, padding), linear(2 * dim, dim)

    def forward(self, one: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        """Branches [B, T, D], mask [B, T] -> [B, T, D]."""
        both = torch.cat([one, other], -1)  # [B, T, 2D]
        y: Tensor = self.out(both + self.depthwise(both, mask))
        return y
