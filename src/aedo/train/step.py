"""One micro-step (a batch forward and backward) and one update (an optimizer step), read top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aedo.augment.pipeline import Pipeline
from aedo.data.batch import Batch
from aedo.features.logmel import Features
from aedo.losses.objective import Losses, Objective
from aedo.memory import keep_freed_memory
from aedo.model.aed import AED
from aedo.model.labels import Labels
from aedo.nn.advance import advance
from aedo.schedule import Progress, value_at
from aedo.train.config import TrainConfig
from aedo.train.distributed import ALONE, Ranks
from aedo.train.ema import MovingAverage
from aedo.train.gradients import divide
from aedo.train.precision import LEAST_SCALE, autocast, gradient_scaler

Augment = Callable[[Features, Progress], Features]

OF_RANK = 0
"""Random numbers of the micro-steps of another rank than the first: a stream for each."""
NOISE_OF_UPDATE = 1
"""Random numbers of the gradients' noise: a stream of their own, the same for all processes of a training."""


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
    overflow: float | None = None
    """Scale of the losses at which the gradients overflowed, though all losses are finite: the update was skipped and
    the scale made smaller, as is usual in float16."""

    @property
    def applied(self) -> bool:
        return not self.bad and self.overflow is None


@dataclass(frozen=True)
class Pending:
    """A micro-step whose gradients wait for their update."""

    ids: tuple[str, ...]
    """Its utterances."""
    total: Tensor
    """Its loss, a detached scalar on the device."""
    labels: int
    """What its losses are still to be divided by, together with those of the other micro-steps; 0: nothing."""


class Step:
    """Forward, backward, and now and then the optimizer.

    Gradients of the micro-steps of an update are summed.  The way of the gradients: average over processes, unscale,
    divide, noise, norm, clip, optimizer, average of the weights.  Random numbers depend on (seed, micro-step, rank)
    alone, so a training that goes on after an interruption draws what it would have drawn.
    """

    def __init__(
        self,
        model: AED,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        augment: Pipeline,
        config: TrainConfig,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        self.ranks, self.share_gradients = ranks, not ranks.alone and config.sync_parameters is None
        self.model, self.objective, self.optimizer, self.augment = model, objective, optimizer, augment
        self.config, self.device = config, device
        self.gradients, self.learning_rate = config.gradients.build(), config.rates()
        self.weight_noise, self.weight_dropout = config.weight_noise.build(model), config.weight_dropout.build(model)
        self.scaler = gradient_scaler(config.precision, config.grad_scaler, device)
        self.average = None if config.ema is None else MovingAverage(model, config.ema)
        self.weight_decay = config.optimizer.weight_decay.build(model)
        self.parameters = list(model.parameters())
        saved = model.state_dict(keep_vars=True)
        self.statistics = [b for name, b in model.named_buffers() if name in saved and b.is_floating_point()]
        """Running statistics of the norms.  A non-finite batch would spoil them for good: good ones are kept."""
        self._kept = [buffer.clone() for buffer in self.statistics]
        self.pending: list[Pending] = []
        """The micro-steps since the last update."""

    def micro_step(self, batch: Batch, progress: Progress) -> Losses:
        """Add the gradients of a batch.  Waits for nothing on the device."""
        use = () if self.ranks.main else (OF_RANK, self.ranks.rank)
        seed_random_numbers(self.config.seed, progress.micro_step, *use)
        self.model.train()
        with self.weight_dropout(progress), self.weight_noise(progress):
            losses = forward(self.model, self.objective, batch, progress, self.config, self.device, self.augment)
            torch.autograd.backward(losses.total if self.scaler is None else self.scaler.scale(losses.total))
        self.pending.append(Pending(batch.ids, losses.total.detach(), losses.labels))
        return losses

    def missed(self) -> None:
        """In the place of a micro-step that has no utterances, where other ranks may have some: its gradient is 0."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.pending.append(Pending((), torch.zeros((), device=self.device), 0))

    def update_due(self, progress: Progress) -> bool:
        """Whether the micro-steps done, the last one at `progress`, make an update."""
        return len(self.pending) >= max(1, round(value_at(self.config.accumulate, progress)))

    def update(self, progress: Progress) -> Update:
        """Turn the gradients into a step, unless a loss or a gradient is not finite.  Waits for the device once."""
        if self.share_gradients:
            self.ranks.average_gradients(self.parameters)
        divisor = self._divisor()
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        divide(self.parameters, divisor)
        if self.gradients.noisy(progress):
            seed_random_numbers(self.config.seed, progress.micro_step, NOISE_OF_UPDATE)
        norm = self.gradients(self.parameters, progress)
        grad_norm, *totals = torch.stack([norm, *(each.total for each in self.pending)]).tolist()
        rate = self.learning_rate.at(progress)
        finite = np.isfinite(totals)
        bad: tuple[tuple[str, ...], ...] = ()
        overflow = None
        good = bool(finite.all() and np.isfinite(grad_norm))
        if not self.ranks.any(not good)[0]:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.weight_decay.set(self.optimizer, progress)
            self.optimizer.step()
            if self.average is not None:
                self.average.update(progress)
            copy_all(self.statistics, self._kept)
        else:
            copy_all(self._kept, self.statistics)
            bad, overflow = self._blame(finite.tolist(), good)
        if self.scaler is not None:
            self.scaler.update()
        self.drop()
        return Update(rate, grad_norm, tuple(totals), bad, overflow)

    def _divisor(self) -> float:
        """What the summed gradients are divided by: labels of all micro-steps, or their number, or nothing."""
        labels: float = sum(each.labels for each in self.pending)
        if self.share_gradients:
            labels = self.ranks.mean(labels)
        return labels or (len(self.pending) if self.config.gradients.divide else 1)

    def _blame(self, finite: list[bool], good: bool) -> tuple[tuple[tuple[str, ...], ...], float | None]:
        """Micro-steps (of all ranks) with a loss that is not finite; else the scale that was too large; else all."""
        losses = [each.ids for each, is_finite in zip(self.pending, finite) if not is_finite]
        others = [] if good else [each.ids for each in self.pending]
        said = self.ranks.gather((losses, others, None if good else self._overflow()))
        bad = tuple(ids for losses, _, _ in said for ids in losses)
        if bad:
            return bad, None
        overflow = max((scale for *_, scale in said if scale is not None), default=None)
        return tuple(ids for _, others, _ in said for ids in others) if overflow is None else (), overflow

    def _overflow(self) -> float | None:
        """The scale of the losses, where it may be to blame for gradients that are not finite."""
        scale = 0.0 if self.scaler is None else self.scaler.get_scale()
        return scale if scale > LEAST_SCALE else None

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
            "pending": [(list(each.ids), float(each.total), each.labels) for each in self.pending],
            "kept_statistics": self._kept,
            "augment": self.augment.state(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        for name, parameter in self.model.named_parameters():
            gradient = state["gradients"].get(name)
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        self.pending = [
            Pending(tuple(ids), torch.tensor(total, device=self.device), labels)
            for ids, total, labels in state["pending"]
        ]
        self._kept = [buffer.to(self.device) for buffer in state["kept_statistics"]]
        self.augment.load_state(state["augment"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state(state["average"])


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
    with autocast(device, config.precision):
        outputs = model(features, labels)
    return objective(outputs, labels, progress)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; from pinned memory, so that the host need not wait for it."""
    if device.type == "cuda" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def seed_random_numbers(seed: int, micro_step: int, *use: int) -> None:
    """Set torch's generators, on every device, to a point that belongs to this micro-step (and use)."""
    torch.manual_seed(int(np.random.SeedSequence((seed, micro_step, *use)).generate_state(1, np.uint64)[0]))


def copy_all(sources: list[Tensor], targets: list[Tensor]) -> None:
    """Copy tensors into others, in few kernels."""
    if targets:
        torch._foreach_copy_(targets, sources)


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
