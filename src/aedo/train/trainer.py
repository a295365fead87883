"""The training loop: sub-epochs of micro-steps, each evaluated and saved at its end, and an average at the very end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from aedo.data.batch import Batch
from aedo.data.loader import Loaded
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.losses.objective import Losses
from aedo.model.aed import AED
from aedo.run import Checkpoint, RunFolder, load_weights
from aedo.schedule import Progress
from aedo.train.average import average_at_end
from aedo.train.checkpoint import epoch_label, read_state, restore_random_states, step_label, tidy, write_checkpoint
from aedo.train.display import Display, Status
from aedo.train.distributed import ALONE, LostRankError, Ranks
from aedo.train.evaluate import BatchSource, evaluate
from aedo.train.failures import Failures
from aedo.train.log import RunLog, SilentLog
from aedo.train.position import Position
from aedo.train.signals import StopRequest
from aedo.train.statistics import Counters, Tally
from aedo.train.step import Step, Update

SHOW_SECONDS = 0.5
"""Time between two looks at the running means for the display."""


@dataclass(frozen=True)
class Sources:
    """Where batches come from."""

    train: BatchSource
    dev: BatchSource
    devtrain: BatchSource


@dataclass(frozen=True)
class Settings:
    """How to run; nothing here changes the result."""

    log_every: int = 10
    """Updates between two lines of steps.jsonl."""
    save_minutes: float = 10.0
    """Minutes between two checkpoints inside a sub-epoch; 0: only at its end."""


class Trainer:
    """Trains a model from wherever its run folder stands."""

    def __init__(
        self,
        run: RunFolder,
        experiment: Experiment,
        model: AED,
        sources: Sources,
        device: torch.device,
        settings: Settings,
        display: Display,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.run, self.experiment, self.config = run, experiment, experiment.train
        self.model, self.sources, self.device = model.to(device), sources, device
        self.settings, self.display = settings, display
        self.objective = experiment.loss.build(experiment.ctc)
        optimizer = self.config.optimizer.build(self.model)
        self.step = Step(self.model, self.objective, optimizer, experiment.augment.build(), self.config, device, ranks)
        self.position, self.tally, self.counters = Position(), Tally(finite_only=True), Counters()
        self.recent = Tally(finite_only=True)
        self.failures = Failures(self.config.max_bad_steps, self.config.precision)
        self._resume()
        self.log = RunLog(run, self.position) if ranks.main else SilentLog()
        self._shown = 0.0
        self._saved = self._began = time.monotonic()
        self._fraction_at_start = self._fraction(1)

    def train(self, stopped: StopRequest) -> bool:
        """Go on to the end: True.  Saved and left on request: False."""
        try:
            while self.position.epoch <= self.config.epochs:
                if not self._train_epoch(stopped) or not self._finish_epoch(stopped):
                    self._save_inside_epoch()
                    return False
            if self.ranks.main:
                moving = self.step.average
                average_at_end(self.run, self.config, None if moving is None else moving.weights())
            return True
        finally:
            self.log.close()

    # One sub-epoch

    def _train_epoch(self, stopped: StopRequest) -> bool:
        """The rest of the sub-epoch; False where it was broken off on request."""
        start = self.position.epoch_start(self.config.epochs)
        batches = self.ranks.least(len(self.sources.train.plan(self.position.epoch, start)))
        source = self.sources.train.batches(self.position.epoch, start, self.position.batch)
        with closing(source):  # type: ignore[type-var]  # a generator
            clock = time.monotonic()
            for loaded in self._fetched(source, batches):
                self._train_batch(loaded, self.position.progress(batches, self.config.epochs), batches)
                clock, before = time.monotonic(), clock
                self.counters.seconds += clock - before
                stop, save = self.ranks.any(stopped(), self._save_due())
                if stop:
                    return False
                if save:
                    self._save_inside_epoch()
                    clock = time.monotonic()
        self.step.drop()
        return True

    def _fetched(self, source: Iterator[Loaded], batches: int) -> Iterator[Loaded]:
        """The batches, as many as all ranks have.

        Where the loader of a rank fails, what was trained so far is saved before its error goes on.
        """
        while self.ranks.alone or self.position.batch < max(batches, 1):  # a rank without any fails when it asks
            loaded, failure = None, None
            try:
                loaded = next(source, None)
            except Exception as error:
                failure = error
            if self.ranks.any(failure is not None)[0]:
                self._save_inside_epoch()
                raise failure or LostRankError("another rank has no data to go on with")
            if loaded is None:
                return
            yield loaded

    def _train_batch(self, loaded: Loaded, progress: Progress, batches: int) -> None:
        self._note_bad(loaded, progress)
        self.counters.wait += loaded.wait
        update: Update | None = None
        counts = loaded.batch is not None or not self.ranks.alone
        if loaded.batch is not None:
            losses = self._micro_step(loaded.batch, progress)
            self.tally.add(losses)
            self.recent.add(losses)
            self.counters.add_batch(loaded.batch)
        elif counts:
            self.step.missed()
        if counts and self.step.update_due(progress):
            update = self.step.update(progress)
        self.position = self.position.after_batch()
        every = self.config.sync_parameters
        if every is not None and self.position.batch % every == 0:
            self.ranks.average([parameter.detach() for parameter in self.step.parameters])
        if update is not None and update.applied:
            self._count_update(update, progress, batches)
        elif update is not None:
            self._count_skipped(update, progress)

    def _micro_step(self, batch: Batch, progress: Progress) -> Losses:
        try:
            return self.step.micro_step(batch, progress)
        except torch.OutOfMemoryError as error:
            rows, samples = batch.audio.shape
            raise UserError(
                f"{self.device}: out of memory with a batch of {rows} x {samples} samples: "
                f"use a smaller batch.max_samples with a larger train.accumulate, or bfloat16 ({error})"
            ) from None

    def _note_bad(self, loaded: Loaded, progress: Progress) -> None:
        self.counters.bad_utterances += len(loaded.bad)
        if not self.ranks.any(bool(loaded.bad))[0]:
            return
        for rank, all_bad in enumerate(self.ranks.gather(loaded.bad)):
            where = {} if self.ranks.alone else {"rank": rank}
            for bad in all_bad:
                self.log.event(progress.micro_step, "bad_utterance", id=bad.id, reason=bad.reason, **where)
                if self.failures.first_time(bad.id):
                    self.display.say(f"left out: {bad.id}: {bad.reason}")

    def _count_skipped(self, update: Update, progress: Progress) -> None:
        if update.overflow is not None:  # the search for a scale: no failure
            self.log.event(progress.micro_step, "gradient_overflow", scale=update.overflow)
            return
        self.counters.skipped_steps += len(update.totals)
        for ids in update.bad:
            self.log.event(progress.micro_step, "skipped_step", ids=list(ids), grad_norm=update.grad_norm)
        self.display.say(f"micro-step {progress.micro_step}: {self.failures.skipped(update)}")
        self.failures.check(self.run, progress.micro_step)

    def _count_update(self, update: Update, progress: Progress, batches: int) -> None:
        self.failures.good()
        self.position = self.position.after_update()
        clip = self.config.gradients.clip_norm
        self.counters.updates += 1
        self.counters.learning_rate = update.learning_rate
        self.counters.grad_norm += update.grad_norm
        self.counters.clipped += int(clip is not None and update.grad_norm > clip)
        if self.position.update % self.settings.log_every == 0:
            self._log_step(update, progress)
        if self.ranks.main and time.monotonic() - self._shown > SHOW_SECONDS:
            self._show(update, batches)

    def _log_step(self, update: Update, progress: Progress) -> None:
        mine = (self.recent.state(), update.grad_norm, sum(update.totals) / len(update.totals))
        recent, norms, totals = zip(*self.ranks.gather(mine))
        self.log.step(
            {
                "micro_step": progress.micro_step,
                "update": self.position.update,
                "epoch": self.position.epoch,
                "lr": update.learning_rate,
                "grad_norm": sum(norms) / self.ranks.size,
                "total": sum(totals) / self.ranks.size,
                **Tally.merged(recent).means(),
            }
        )
        self.recent = Tally(finite_only=True)

    def _show(self, update: Update, batches: int) -> None:
        counters, seconds = self.counters, max(self.counters.seconds, 1e-9)
        done, now = self._fraction(batches), time.monotonic()
        gained = done - self._fraction_at_start
        self.display.status(
            Status(
                epoch=self.position.epoch,
                epochs=self.config.epochs,
                batch=self.position.batch,
                batches=batches,
                losses=self.tally.means(),
                learning_rate=update.learning_rate,
                grad_norm=update.grad_norm,
                frames_per_second=self.ranks.size * counters.samples / self.experiment.features.hop / seconds,
                seconds_left=(1 - done) / gained * (now - self._began) if gained > 0 else None,
                padding=counters.padding,
                wait=counters.wait / seconds,
            )
        )
        self._shown = now

    def _fraction(self, batches: int) -> float:
        return self.position.progress(batches, self.config.epochs).fraction

    # Its end

    def _finish_epoch(self, stopped: StopRequest) -> bool:
        """Evaluate, log, save; False where the evaluation was broken off on request."""
        progress = self.position.progress(self.position.batch, self.config.epochs)
        means = {"train": Tally.merged(self.ranks.gather(self.tally.state())).means()}
        with self.ranks.model_of_main(self.model):
            for name, source in (("dev", self.sources.dev), ("devtrain", self.sources.devtrain)):
                self.display.activity(f"epoch {self.position.epoch}: evaluating {name}")
                values = evaluate(
                    self.model, self.objective, source, progress, self.config, self.device, stopped, self.ranks
                )
                if values is None:
                    return False
                means[name] = values
        record = self._record(means)
        self.log.epoch(record)
        self.display.epoch(record)
        finished, scores = self.position.epoch, {f"dev_{term}": value for term, value in means["dev"].items()}
        self.position = self.position.next_epoch()
        self.tally, self.counters = Tally(finite_only=True), Counters()
        self._save(epoch_label(finished), finished, scores)
        return True

    def _record(self, means: dict[str, dict[str, float]]) -> dict[str, Any]:
        counters = Counters.merged(self.ranks.gather(self.counters.state()))
        record: dict[str, Any] = {
            "devices": self.ranks.size,
            "epoch": self.position.epoch,
            "micro_step": self.position.micro_step,
            "update": self.position.update,
            "lr": counters.learning_rate,
            "seconds": counters.seconds,
            "audio_seconds": counters.samples / self.experiment.audio.sample_rate,
            "padding": counters.padding,
            "wait": counters.wait,
            "grad_norm": counters.grad_norm / max(counters.updates, 1),
            "clipped": counters.clipped / max(counters.updates, 1),
            "skipped_steps": counters.skipped_steps,
            "bad_utterances": counters.bad_utterances,
        }
        if self.device.type == "cuda":
            record["device_memory"] = torch.cuda.max_memory_allocated(self.device)
        return {**record, **means}

    # Checkpoints

    def _save_due(self) -> bool:
        minutes = (time.monotonic() - self._saved) / 60
        return self.ranks.main and not self.step.pending and 0 < self.settings.save_minutes <= minutes

    def _save_inside_epoch(self) -> None:
        label = step_label(self.position.micro_step)
        if self.ranks.any(not (self.run.checkpoint_folder / label).exists())[0]:  # else it is that of this very moment
            self._save(label, self.position.epoch - 1, {})

    def _save(self, label: str, epoch: int, scores: dict[str, float]) -> None:
        self.display.activity(f"writing checkpoint {label}")
        folder = self.run.checkpoint_folder / label
        checkpoint = Checkpoint(folder, label, epoch, self.position.micro_step, self.position.update, scores)
        write_checkpoint(checkpoint, self.model, self._state(), self.ranks)
        if self.ranks.main:
            tidy(self.run, self.config.epochs, self.config.keep)
        self._saved = time.monotonic()

    def _state(self) -> dict[str, Any]:
        state = self.step.state()
        if not self.ranks.main:
            model = self.model.state_dict()
            if self.step.share_gradients:  # then parameters and optimizer are those of rank 0
                del state["optimizer"]
                model = {name: model[name] for name in model.keys() - dict(self.model.named_parameters()).keys()}
            state["model"] = model
        return {
            **state,
            "position": self.position.state(),
            "tally": self.tally.state(),
            "recent": self.recent.state(),
            "counters": self.counters.state(),
            "bad_in_a_row": self.failures.in_a_row,
            "threads": torch.get_num_threads(),
        }

    def _resume(self) -> None:
        checkpoint: Checkpoint | None = self.ranks.gather(self.run.resumable())[0]
        if checkpoint is None:
            return
        state = read_state(checkpoint, self.ranks.rank)
        if "optimizer" not in state:
            state["optimizer"] = read_state(checkpoint)["optimizer"]
        weights = load_weights(checkpoint.weights, self.model.state_dict())
        self.model.load_state_dict({**weights, **state.get("model", {})})
        self.step.load_state(state)
        self.position = Position(**state["position"])
        self.tally.load_state(state["tally"], self.device)
        self.recent.load_state(state["recent"], self.device)
        self.counters.load_state(state["counters"])
        self.failures.in_a_row = state["bad_in_a_row"]
        restore_random_states(state["random"])
        where = f"epoch {self.position.epoch}, batch {self.position.batch}"
        if self.position.epoch <= self.config.epochs:
            self.display.say(f"going on from {checkpoint.label}: {where}, micro-step {self.position.micro_step}")
        if self.device.type == "cpu" and state["threads"] != torch.get_num_threads():
            self.display.say(
                f"note: trained with {state['threads']} threads so far, now with {torch.get_num_threads()}: "
                "the result may differ in the last bits from that of an uninterrupted run"
            )
