"""Training a Transformer language model; everything is the same after a stop, to the last bit.

B sentences, N packed labels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field

from aedo.config import Part
from aedo.errors import UserError
from aedo.lm.perplexity import batches, exponential, perplexity_of
from aedo.lm.sentences import Int64, Sentences
from aedo.lm.texts import Texts
from aedo.lm.transformer_lm import TransformerLM, TransformerLmConfig
from aedo.losses.cross_entropy import cross_entropy
from aedo.model.labels import Labels
from aedo.run import Checkpoint, RunFolder, load_weights
from aedo.schedule import AnySchedule, PiecewiseLinear
from aedo.train.checkpoint import epoch_label, read_state, restore_random_states, step_label, tidy, write_checkpoint
from aedo.train.config import KeepConfig
from aedo.train.gradients import GradientConfig
from aedo.train.log import RunLog
from aedo.train.optimizers import OptimizerConfig
from aedo.train.param_groups import WeightDecayConfig
from aedo.train.position import Position

POOL = 50
"""Batches whose sentences are sorted by length together, so that little is padding."""
KEEP = KeepConfig(last=1, best=1)


class LmTrainConfig(Part):
    model: TransformerLmConfig = TransformerLmConfig()
    epochs: int = Field(10, ge=1)
    seed: int = 1
    batch: int = Field(4096, ge=1)
    """Labels of a batch, padding included; a longer sentence is a batch of its own."""
    learning_rate: float = Field(1e-3, gt=0)
    """The highest, after the first tenth of the training; it starts at 0 and falls back to 0."""
    optimizer: OptimizerConfig = OptimizerConfig(
        betas=(0.9, 0.98), weight_decay=WeightDecayConfig(value=0.01, matrices_only=True)
    )
    gradients: GradientConfig = GradientConfig(clip_norm=1.0)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> LmTrainConfig:
        """With these fields by their dotted paths.  The feed-forward networks grow with the width: 8/3 of it, in
        multiples of 64."""
        width = given.get("model.dim", TransformerLmConfig().dim)
        hidden = 64 * math.ceil(width * 8 / 3 / 64)
        tree: dict[str, Any] = {"model": {"feed_forward": {"dim": hidden, "activation": "swiglu", "bias": False}}}
        tree["model"]["dropout"] = {"share": "none"}
        for path, value in given.items():
            *parents, name = path.split(".")
            place = tree
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
        return cls.model_validate(tree)

    def rates(self) -> AnySchedule:
        return PiecewiseLinear(unit="fraction", nodes=(0.1, 1.0), values=(0.0, self.learning_rate, 0.0))


@dataclass(frozen=True)
class LmSettings:
    """What changes no result."""

    device: torch.device
    save_minutes: float = 10.0
    """Between two checkpoints inside an epoch; 0: only at its end."""
    log_every: int = 50
    """Updates between two lines of steps.jsonl."""
    say: Callable[[str], None] = print
    show: Callable[[int, int, str], None] = lambda done, batches, text: None
    """How far the epoch is."""


class LmTrainer:
    """Goes on where the folder stands: the latest checkpoint with a state, else the begin."""

    def __init__(
        self, run: RunFolder, vocabulary: int, texts: Texts, config: LmTrainConfig, settings: LmSettings
    ) -> None:
        self.run, self.texts, self.config, self.settings = run, texts, config, settings
        torch.manual_seed(config.seed)
        self.model: TransformerLM = config.model.build(vocabulary).to(settings.device)
        self.optimizer = config.optimizer.build(self.model)
        self.rates, self.gradients = config.rates(), config.gradients.build()
        self.position = Position()
        self.loss, self.labels = torch.zeros((), dtype=torch.float64, device=settings.device), 0
        self._resume()
        self.log = RunLog(run, self.position)
        self.saved = self.began = time.monotonic()

    def train(self, stopped: Callable[[], bool]) -> bool:
        """To the end: True.  Saved and left on request: False."""
        try:
            while self.position.epoch <= self.config.epochs:
                if not self._epoch(stopped):
                    self._save(step_label(self.position.micro_step), self.position.epoch - 1, {})
                    return False
                self._end_epoch()
            return True
        finally:
            self.log.close()

    def _epoch(self, stopped: Callable[[], bool]) -> bool:
        plan = plan_of(self.texts.train, self.config.batch, self.config.seed, self.position.epoch)
        self.model.train()
        while self.position.batch < len(plan):
            self._update(self.texts.train.padded(plan[self.position.batch]), len(plan))
            if stopped():
                return False
            if 0 < self.settings.save_minutes <= (time.monotonic() - self.saved) / 60:
                self._save(step_label(self.position.micro_step), self.position.epoch - 1, {})
        return True

    def _update(self, labels: Labels, total: int) -> None:
        progress = self.position.progress(total, self.config.epochs)
        rate = self.rates.at(progress)
        output = self.model(labels)
        loss = cross_entropy(output.logits, output.targets, 0.0).sum()
        count = len(output.targets)
        (loss / count).backward()  # type: ignore[no-untyped-call]
        norm = self.gradients(list(self.model.parameters()), progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.loss += loss.detach()
        self.labels += count
        self.position = self.position.after_batch().after_update()
        if not self.position.update % self.settings.log_every:
            self._log_update(float(loss.detach()) / count, float(norm), rate)
        self.settings.show(self.position.batch, total, f"epoch {self.position.epoch}/{self.config.epochs}")

    def _log_update(self, loss: float, norm: float, rate: float) -> None:
        self._check(loss)
        at = self.position
        self.log.step(
            {
                "epoch": at.epoch,
                "micro_step": at.micro_step - 1,
                "update": at.update,
                "ce": loss,
                "grad_norm": norm,
                "lr": rate,
            }
        )

    def _check(self, loss: float) -> None:
        """UserError where the training has broken down."""
        if not math.isfinite(loss):
            raise UserError(
                f"{self.run.path}: the loss is {loss} after {self.position.update} updates: start anew in another "
                "folder, with a lower --lr"
            )

    def _end_epoch(self) -> None:
        train = float(self.loss) / max(self.labels, 1)
        self._check(train)
        dev = perplexity_of(self.model.eval(), self.texts.held_out)
        at = self.position
        record = {"epoch": at.epoch, "micro_step": at.micro_step, "update": at.update, "seconds": self._seconds()}
        self.log.epoch({**record, "train": {"ce": train}, "dev": {"ce": math.log(dev.per_label)}})
        self.settings.say(
            f"epoch {at.epoch}/{self.config.epochs}: perplexity {exponential(train):.3f} in training, held out "
            f"{dev.per_label:.3f} per label, {dev.per_word:.2f} per word"
        )
        finished, self.position = at.epoch, at.next_epoch()
        self.loss, self.labels = torch.zeros_like(self.loss), 0
        self._save(epoch_label(finished), finished, {"dev_ce": math.log(dev.per_label)})

    def _seconds(self) -> float:
        seconds, self.began = time.monotonic() - self.began, time.monotonic()
        return round(seconds, 3)

    def _save(self, label: str, epoch: int, scores: dict[str, float]) -> None:
        place = self.run.checkpoint_folder / label
        if not place.exists():  # else it is that of this very moment
            checkpoint = Checkpoint(place, label, epoch, self.position.micro_step, self.position.update, scores)
            state: dict[str, Any] = {
                "optimizer": self.optimizer.state_dict(),
                "position": self.position.state(),
                "loss": self.loss.cpu(),
                "labels": self.labels,
            }
            write_checkpoint(checkpoint, self.model, state)
            tidy(self.run, self.config.epochs, KEEP)
        self.saved = time.monotonic()

    def _resume(self) -> None:
        checkpoint = self.run.resumable()
        if checkpoint is None:
            return
        state = read_state(checkpoint)
        self.model.load_state_dict(load_weights(checkpoint.weights, self.model.state_dict()))
        self.optimizer.load_state_dict(state["optimizer"])
        self.position = Position(**state["position"])
        self.loss, self.labels = state["loss"].to(self.settings.device), state["labels"]
        restore_random_states(state["random"])
        self.settings.say(f"going on from {checkpoint.label}")


def plan_of(sentences: Sentences, most: int, seed: int, epoch: int) -> list[Int64]:
    """The batches of an epoch: drawn at random, sorted by length within pools, cut at `most` labels, drawn again."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(sentences))
    lengths = sentences.lengths[order] + 1
    pools = np.cumsum(lengths) // (POOL * most)
    order = order[np.lexsort((lengths, pools))]
    found = list(batches(order, sentences.lengths[order] + 1, most))
    return [found[i] for i in random.permutation(len(found))]
