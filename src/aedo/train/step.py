"""One micro-step (a batch forward and backward) and one update (an optimizer step), read top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aedo.data.batch import Batch
from aedo.features.logmel import Features
from aedo.losses.objective import Losses, Objective
from aedo.model.aed import AED
from aedo.model.labels import Labels
from aedo.nn.advance import advance
from aedo.schedule import Progress, value_at
from aedo.train.config import TrainConfig

Augment = Callable[[Features, Progress], Features]


@dataclass(frozen=True)
class Update:
    """What came of the micro-steps of one update."""

    learning_rate: float
    grad_norm: float
    """Before clipping."""
    totals: tuple[float, ...]
    """Total loss of each micro-step."""
    bad: tuple[tuple[str, ...], ...]
    """Utterances of the micro-steps to blame where the update was skipped; empty where it was done."""

    @property
    def applied(self) -> bool:
        return not self.bad


class Step:
    """Forward, backward, and now and then the optimizer.

    Gradients of the micro-steps of an update are summed.  Random numbers depend on (seed, micro-step) alone, so a
    training that goes on after an interruption draws what it would have drawn.
    """

    def __init__(
        self,
        model: AED,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        augment: Augment,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.model, self.objective, self.optimizer, self.augment = model, objective, optimizer, augment
        self.config, self.device = config, device
        self.gradients = config.gradients.build()
        self.parameters = list(model.parameters())
        saved = model.state_dict(keep_vars=True)
        self.statistics = [b for name, b in model.named_buffers() if name in saved and b.is_floating_point()]
        """Running statistics of the norms.  A non-finite batch would spoil them for good: good ones are kept."""
        self._kept = [buffer.clone() for buffer in self.statistics]
        self.pending: list[tuple[tuple[str, ...], Tensor]] = []
        """Utterances and total loss of the micro-steps since the last update."""

    def micro_step(self, batch: Batch, progress: Progress) -> Losses:
        """Add the gradients of a batch.  Waits for nothing on the device."""
        seed_random_numbers(self.config.seed, progress.micro_step)
        self.model.train()
        losses = forward(self.model, self.objective, batch, progress, self.config, self.device, self.augment)
        torch.autograd.backward(losses.total)
        self.pending.append((batch.ids, losses.total.detach()))
        return losses

    def update_due(self, progress: Progress) -> bool:
        """Whether the micro-steps done, the last one at `progress`, make an update."""
        return len(self.pending) >= max(1, round(value_at(self.config.accumulate, progress)))

    def update(self, progress: Progress) -> Update:
        """Clip and step, unless a loss or the gradient is not finite.  Waits for the device once."""
        norm = self.gradients(self.parameters, progress)
        grad_norm, *totals = torch.stack([norm, *(total for _, total in self.pending)]).tolist()
        rate = self.config.learning_rate.at(progress)
        finite = np.isfinite(totals)
        if finite.all() and np.isfinite(grad_norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            copy_all(self.statistics, self._kept)
            bad: tuple[tuple[str, ...], ...] = ()
        else:
            copy_all(self._kept, self.statistics)
            bad = tuple(ids for (ids, _), good in zip(self.pending, finite) if not good)
            bad = bad or tuple(ids for ids, _ in self.pending)
        self.drop()
        return Update(rate, grad_norm, tuple(totals), bad)

    def drop(self) -> None:
        """Forget the gradients gathered since the last update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.pending.clear()

    def state(self) -> dict[str, Any]:
        """Everything besides the model's weights that the next micro-step depends on."""
        named = self.model.named_parameters()
        return {
            "optimizer": self.optimizer.state_dict(),
            "gradients": {name: parameter.grad for name, parameter in named if parameter.grad is not None},
            "pending": [(list(ids), float(total)) for ids, total in self.pending],
            "kept_statistics": self._kept,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        for name, parameter in self.model.named_parameters():
            gradient = state["gradients"].get(name)
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        self.pending = [(tuple(ids), torch.tensor(total, device=self.device)) for ids, total in state["pending"]]
        self._kept = [buffer.to(self.device) for buffer in state["kept_statistics"]]


def forward(
    model: AED,
    objective: Objective,
    batch: Batch,
    progress: Progress,
    config: TrainConfig,
    device: torch.device,
    augment: Augment | None = None,
) -> Losses:
    """The way of a batch through features, augmentation, model and losses.  Only the model runs under autocast."""
    audio, ids = to_device(batch.audio, device), to_device(batch.labels, device)
    labels = Labels(ids, batch.label_lengths)
    features: Features = model.features(audio, batch.audio_lengths)
    if augment is not None:
        features = augment(features, progress)
    advance(model, progress)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        outputs = model(features, labels)
    return objective(outputs, labels, progress)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; from pinned memory, so that the host need not wait for it."""
    if device.type == "cuda" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def seed_random_numbers(seed: int, micro_step: int) -> None:
    """Set torch's generators, on every device, to a point that belongs to this micro-step."""
    torch.manual_seed(int(np.random.SeedSequence((seed, micro_step)).generate_state(1, np.uint64)[0]))


def copy_all(sources: list[Tensor], targets: list[Tensor]) -> None:
    """Copy tensors into others, in few kernels."""
    if targets:
        torch._foreach_copy_(targets, sources)


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
