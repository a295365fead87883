"""Noise on the weights during forward and backward of a micro-step: gradients are taken there, the weights stay.

Meant are weight matrices: those of linear layers and of LSTMs, neither biases nor embeddings nor convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from pydantic import Field
from torch import nn

from aedo.config import Part
from aedo.errors import UserError
from aedo.nn.lstm import ZoneoutLstm
from aedo.nn.rates import Rate
from aedo.schedule import Progress, Scheduled, value_at


class WeightNoiseConfig(Part):
    std: Scheduled = 0.0
    """Standard deviation of the Gaussian noise."""
    names: tuple[str, ...] = Field(("*",), min_length=1)
    """Which weight matrices of linear layers and LSTMs, by patterns of their names: `decoder.*`."""

    def build(self, model: nn.Module) -> WeightNoise:
        return WeightNoise(_chosen(model, self.names, "train.weight_noise") if self.std != 0 else [], self.std)


class WeightDropoutConfig(Part):
    rate: Rate = 0.0
    """Probability of dropping a weight."""
    names: tuple[str, ...] = Field(("*",), min_length=1)
    """As of the noise."""

    def build(self, model: nn.Module) -> WeightDropout:
        return WeightDropout(_chosen(model, self.names, "train.weight_dropout") if self.rate != 0 else [], self.rate)


class WeightNoise:
    """Adds Gaussian noise.  Source: Graves 2011 ("variational noise" with a fixed posterior)."""

    def __init__(self, weights: Sequence[nn.Parameter], std: Scheduled) -> None:
        self.weights, self.std = weights, std

    @contextmanager
    def __call__(self, progress: Progress) -> Iterator[None]:
        """A block in which the weights are noisy."""
        std = value_at(self.std, progress)
        if std == 0:
            yield
            return
        with _restored(self.weights):
            with torch.no_grad():
                for weight in self.weights:
                    weight.add_(torch.randn_like(weight), alpha=std)
            yield


class WeightDropout:
    """Inverted dropout of single weights; a dropped weight gets no gradient.  Source: Wan et al. 2013."""

    def __init__(self, weights: Sequence[nn.Parameter], rate: Scheduled) -> None:
        self.weights, self.rate = weights, rate

    @contextmanager
    def __call__(self, progress: Progress) -> Iterator[None]:
        """A block in which some weights are zero, in forward and backward."""
        rate = value_at(self.rate, progress)
        if rate == 0:
            yield
            return
        with _restored(self.weights):
            hooks = []
            for weight in self.weights:
                mask = torch.empty_like(weight).bernoulli_(1.0 - rate).div_(1.0 - rate)
                with torch.no_grad():
                    weight.mul_(mask)
                # Before the gradient is added to those of earlier micro-steps, whose masks were others.
                hooks.append(weight.register_hook(mask.mul))  # type: ignore[no-untyped-call]
            try:
                yield
            finally:
                for hook in hooks:
                    hook.remove()


@contextmanager
def _restored(weights: Sequence[nn.Parameter]) -> Iterator[None]:
    """A block after which the weights are what they were, bit for bit."""
    kept = [weight.detach().clone() for weight in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept):
                weight.copy_(value)


def weight_matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weight matrices of linear layers and LSTMs, by name."""
    found: dict[str, nn.Parameter] = {}
    for path, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.LSTM, ZoneoutLstm)):
            for name, parameter in module.named_parameters(path, recurse=False):
                if name.rsplit(".", 1)[-1].startswith("weight") and not any(parameter is p for p in found.values()):
                    found[name] = parameter
    return found


def _chosen(model: nn.Module, patterns: Sequence[str], field: str) -> list[nn.Parameter]:
    matrices = weight_matrices(model)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in matrices):
            examples = ", ".join(list(matrices)[:: max(1, len(matrices) // 3)])
            raise UserError(f"{field}.names: no weight matrix is called {pattern!r}; there are {examples}, ...")
    return [weight for name, weight in matrices.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]
