"""How long and with what to train."""

from __future__ import annotations

from pydantic import Field, model_validator

from aedo.config import Part
from aedo.schedule import AnySchedule, Schedule, Scheduled, WarmupInverseSqrt
from aedo.train.finetune import FineTuneConfig
from aedo.train.gradients import GradientConfig
from aedo.train.optimizers import OptimizerConfig
from aedo.train.precision import Precision, ScalerChoice
from aedo.train.weight_noise import WeightDropoutConfig, WeightNoiseConfig


class KeepConfig(Part):
    """Which checkpoints stay on disk, besides the fixed ones of the reference's rule."""

    last: int = Field(5, ge=1)
    best: int = Field(4, ge=0)
    """Best ones by each dev value."""


class TrainConfig(Part):
    epochs: int = Field(2000, ge=1)
    """Sub-epochs."""
    seed: int = 1
    devices: int = Field(1, ge=1)
    """Processes (ranks) that train together, a device each; each goes through all the data in an order of its own."""
    sync_parameters: int | None = Field(None, ge=1)
    """Of several devices each makes its own updates, and after so many micro-steps (counted within the sub-epoch) their
    parameters are averaged.  None: all make the same updates, from the average of their gradients."""
    accumulate: Scheduled = 1
    """Micro-steps per update; gradients are summed, leftovers at the end of an epoch are dropped (the reference)."""
    precision: Precision = "float32"
    """Autocast of the forward pass; parameters, features and losses stay float32."""
    grad_scaler: ScalerChoice = "auto"
    """Scale the loss by a power of two that adapts to the gradients; auto: with float16 only, which needs it."""
    learning_rate: Schedule = WarmupInverseSqrt(peak=2.5e-3, warmup=40_000, norm=40_000)
    finetune: FineTuneConfig | None = None
    """For a training that begins from the weights of another run: its learning rate instead of the one above."""
    optimizer: OptimizerConfig = OptimizerConfig()
    gradients: GradientConfig = GradientConfig()
    weight_noise: WeightNoiseConfig = WeightNoiseConfig()
    """Drawn anew for every micro-step."""
    weight_dropout: WeightDropoutConfig = WeightDropoutConfig()
    """Drawn anew for every micro-step."""
    ema: Scheduled | None = None
    """Decay of the moving average of the weights, a step per update; its end is the checkpoint `ema`."""
    keep: KeepConfig = KeepConfig()
    eval_utterances: int = Field(3000, ge=1)
    """Fixed random utterances of dev and of train (devtrain) evaluated after each sub-epoch."""
    average_fraction: float = Field(0.1, ge=0, le=1)
    """The checkpoints kept of this last part of the training are averaged at its end; 0: no average."""
    average_last: int = Field(0, ge=0)
    """At the end, the last so many checkpoints are averaged too."""
    average_best: int = Field(0, ge=0)
    """At the end, so many checkpoints are averaged too: those with the lowest dev_ce, without decoder dev CTC loss."""
    max_bad_steps: int = Field(20, ge=1)
    """Micro-steps in a row that may be skipped for a loss or gradient that is not finite; more stop the run."""

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        for kind, kept in (("last", self.keep.last), ("best", self.keep.best)):
            wanted = getattr(self, f"average_{kind}")
            if wanted > min(kept, self.epochs):
                there = f"epochs {self.epochs}, keep.{kind} {kept}"
                raise ValueError(f"average_{kind} {wanted} needs as many sub-epochs, all of them kept ({there})")
        if self.finetune is not None and self.finetune.hold + self.finetune.turn_epochs >= self.epochs:
            raise ValueError(
                f"finetune.hold {self.finetune.hold} and finetune.turn_epochs {self.finetune.turn_epochs} leave "
                f"nothing of a training of {self.epochs} sub-epochs"
            )
        return self

    def rates(self) -> AnySchedule:
        """The schedule of the learning rate in use; UserError where it starts at that of an unknown run."""
        return self.learning_rate if self.finetune is None else self.finetune.schedule(self.learning_rate, self.epochs)
