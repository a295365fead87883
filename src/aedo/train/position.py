"""Where in the training we are: a handful of integers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from aedo.schedule import Progress


@dataclass(frozen=True)
class Position:
    """The next batch to train on, and what has been done before it."""

    epoch: int = 1
    """The sub-epoch under way, from 1."""
    batch: int = 0
    """Number of the next batch in it."""
    micro_step: int = 0
    """Batches done in all."""
    update: int = 0
    """Optimizer steps done in all."""
    first_micro_step: int = 0
    """`micro_step` where the sub-epoch began."""
    first_update: int = 0
    """`update` where the sub-epoch began."""

    def progress(self, batches: int, epochs: int) -> Progress:
        """For the schedules: this position in a sub-epoch of `batches`, in a training of `epochs`."""
        epoch = self.epoch - 1 + (self.batch / batches if batches else 0.0)
        return Progress(self.micro_step, self.update, epoch, min(epoch / epochs, 1.0))

    def epoch_start(self, epochs: int) -> Progress:
        """The same for the beginning of the sub-epoch."""
        return Progress(self.first_micro_step, self.first_update, float(self.epoch - 1), (self.epoch - 1) / epochs)

    def after_batch(self) -> Position:
        return replace(self, batch=self.batch + 1, micro_step=self.micro_step + 1)

    def after_update(self) -> Position:
        return replace(self, update=self.update + 1)

    def next_epoch(self) -> Position:
        return Position(self.epoch + 1, 0, self.micro_step, self.update, self.micro_step, self.update)

    def state(self) -> dict[str, int]:
        return asdict(self)
