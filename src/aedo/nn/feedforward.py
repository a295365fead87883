"""Position-wise feed-forward network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.init import linear
from aedo.nn.sparse_feedforward import sparse_squared_relu
from aedo.nn.width import Width
from aedo.schedule import Scheduled


class FeedForwardConfig(Part):
    dim: int = Field(2048, ge=1)
    """Hidden units."""
    activation: Literal["relu2", "relu", "swish", "swiglu"] = "relu2"
    """relu2: ReLU(x) squared (the reference); swish: x sigmoid(x); swiglu: swish(x) times a second projection."""
    bias: bool = True

    def build(self, model_dim: int, dropout: DropoutConfig, width: Scheduled = 1.0) -> FeedForward:
        """`width`: share of the hidden units in use over the training."""
        activation = ACTIVATIONS[self.activation]()
        inputs = 2 * self.dim if isinstance(activation, SwishGate) else self.dim
        hidden, out = linear(model_dim, inputs, bias=self.bias), linear(self.dim, model_dim, bias=self.bias)
        return FeedForward(hidden, activation, Width(width), dropout.build(), out)


class SquaredReLU(nn.Module):
    """ReLU(x) squared.  Source: So et al. 2021 (Primer)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x).square()


class SwishGate(nn.Module):
    """[..., 2 F] -> [..., F]: the swish of the first half times the second half.  Source: Shazeer 2020 (SwiGLU)."""

    def forward(self, x: Tensor) -> Tensor:
        gate, value = x.chunk(2, -1)
        return nn.functional.silu(gate) * value


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu2": SquaredReLU,
    "relu": nn.ReLU,
    "swish": nn.SiLU,
    "swiglu": SwishGate,
}


class FeedForward(nn.Module):
    """Linear, activation, dropout, linear on [B, T, D]."""

    def __init__(
        self, hidden: nn.Linear, activation: nn.Module, width: Width, dropout: Dropout, out: nn.Linear
    ) -> None:
        super().__init__()
        self.hidden, self.activation, self.width, self.dropout, self.out = hidden, activation, width, dropout, out

    def forward(self, x: Tensor) -> Tensor:
        if self._sparse(x):
            keep = self.dropout.keep(x.new_empty(()).expand(*x.shape[:-1], self.hidden.out_features))
            first, second = self.hidden, self.out
            return sparse_squared_relu(x, first.weight, first.bias, second.weight, second.bias, keep.flatten())
        y: Tensor = self.out(self.dropout(self.width(self.activation(self.hidden(x)))))
        return y

    def _sparse(self, x: Tensor) -> bool:
        """Whether dropped units need not be computed: they are the same on all frames, and a CPU, which can tell how
        many they are without waiting, computes them."""
        dropout = self.dropout
        return (
            dropout.training
            and dropout.rate > 0
            and dropout.share == "batch_time"
            and self.width.share == 1.0
            and isinstance(self.activation, SquaredReLU)
            and x.device.type == "cpu"
        )
