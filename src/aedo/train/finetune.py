"""The learning rate of a training that begins from the weights of another run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aedo.config import Part
from aedo.errors import UserError
from aedo.schedule import AnySchedule, ByEpoch, Leg, peak_of


class FineTuneConfig(Part):
    """Down from a start to almost nothing, in the place of train.learning_rate; needs `--from RUN`.

    Phases: `hold` sub-epochs at the start, then a way down to `turn` where there are two ways, then one to `final`.
    """

    start: float | Literal["peak", "origin"] = "peak"
    """Learning rate; peak: the largest of train.learning_rate (the reference); origin: the last one of the run that the
    weights come from (written here as a number once that run is known)."""
    hold: int = Field(0, ge=0)
    """Sub-epochs at the start."""
    turn_epochs: int = Field(0, ge=0)
    """Sub-epochs of the first of two ways; 0: there is one way only."""
    turn: float = Field(1e-5, gt=0)
    """Learning rate between the two ways."""
    final: float = Field(1e-7, gt=0)
    """Learning rate of the last sub-epoch."""
    spacing: Literal["geometric", "linear"] = "geometric"
    by: Literal["epoch", "step"] = "epoch"
    """Whether the rate changes once a sub-epoch (the reference) or with every micro-step."""

    def schedule(self, learning_rate: AnySchedule, epochs: int) -> ByEpoch:
        """For a training of `epochs` whose experiment has a `learning_rate`."""
        if self.start == "origin":
            raise UserError("train.finetune.start: origin, but no run is given to start from; give --from RUN")
        start = peak_of(learning_rate) if self.start == "peak" else self.start
        legs = [
            (self.hold, start),
            (self.turn_epochs, self.turn),
            (epochs - self.hold - self.turn_epochs, self.final),
        ]
        return ByEpoch(
            start=start,
            legs=tuple(Leg(epochs=count, end=end, spacing=self.spacing) for count, end in legs if count),
            continuous=self.by == "step",
        )
