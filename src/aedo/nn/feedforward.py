"""Position-wise feed-forward network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.dropout import Dropout, DropoutConfig
from aedo.nn.init import linear


class FeedForwardConfig(Part):
    dim: int = Field(2048, ge=1)
    """Hidden units."""
    activation: Literal["relu2", "swish"] = "relu2"
    """relu2: ReLU(x) squared (the reference); swish: x sigmoid(x)."""

    def build(self, model_dim: int, dropout: DropoutConfig) -> FeedForward:
        return FeedForward(model_dim, self.dim, ACTIVATIONS[self.activation](), dropout.build())


class SquaredReLU(nn.Module):
    """ReLU(x) squared.  Source: So et al. 2021 (Primer)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x).square()


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu2": SquaredReLU, "swish": nn.SiLU}


class FeedForward(nn.Module):
    """Linear, activation, dropout, linear on [B, T, D]."""

    def __init__(self, model_dim: int, hidden_dim: int, activation: nn.Module, dropout: Dropout) -> None:
        super().__init__()
        self.hidden, self.out = linear(model_dim, hidden_dim), linear(hidden_dim, model_dim)
        self.activation, self.dropout = activation, dropout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.dropout(self.activation(self.hidden(x))))
        return y
