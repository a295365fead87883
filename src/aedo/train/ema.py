"""An average of the weights that follows the training: exponential, one step per update."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aedo.schedule import Progress, Scheduled, value_at


class MovingAverage:
    """Exponential moving average of all floating-point weights, running statistics of the norms included.

    The decay rises from (1 + n) / (10 + n) in update n to its own value, so that the random initial weights are soon
    forgotten.  Source: Polyak & Juditsky 1992; the rise: TensorFlow, ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: Scheduled) -> None:
        self.model, self.decay, self.updates = model, decay, 0
        self.mean = {name: value.clone() for name, value in self._live().items()}

    def update(self, progress: Progress) -> None:
        """Move towards the weights of now, after an update."""
        decay = min(value_at(self.decay, progress), (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.mean.values()), list(self._live().values()), 1.0 - decay)

    def weights(self) -> dict[str, Tensor]:
        """Weights for a checkpoint; what is no floating-point number is that of now."""
        return {**self.model.state_dict(), **self.mean}

    def state(self) -> dict[str, Any]:
        return {"updates": self.updates, "mean": self.mean}

    def load_state(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        for name, value in self.mean.items():
            value.copy_(state["mean"][name])

    def _live(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}
