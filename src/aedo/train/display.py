"""What the user sees of a training: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_SECONDS = 30.0
"""Time between two lines where the output is no terminal."""

WAITING = 0.1
"""Share of a sub-epoch spent waiting for data above which there is something to say."""


@dataclass(frozen=True)
class Status:
    """Where the training stands."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    losses: dict[str, float] = field(default_factory=dict)
    """Means since the sub-epoch began."""
    learning_rate: float = 0.0
    grad_norm: float = 0.0
    frames_per_second: float = 0.0
    """Feature frames (of 10 ms, in the usual setting) trained on per second."""
    seconds_left: float | None = None
    padding: float = 0.0
    """Share of the samples that is padding."""
    wait: float = 0.0
    """Share of the time spent waiting for data."""

    def line(self) -> str:
        losses = " ".join(format_loss(name, value) for name, value in self.losses.items())
        left = "" if self.seconds_left is None else f" | {duration(self.seconds_left)} left"
        return (
            f"epoch {self.epoch}/{self.epochs} {self.batch}/{self.batches} | {losses} | lr {self.learning_rate:.2e}"
            f" | grad {self.grad_norm:.2f} | {self.frames_per_second:,.0f} frames/s | padding {self.padding:.0%}"
            f" | waiting {self.wait:.0%}{left}"
        )


class Display:
    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._live: Progress | None = None
        self._printed = time.monotonic()
        if self.console.is_terminal:
            self._live = Progress(
                BarColumn(bar_width=20), TextColumn("{task.description}"), console=self.console, transient=True
            )
            self._task = self._live.add_task("")
            self._live.start()

    def status(self, status: Status) -> None:
        """Show a status: at once on a terminal, now and then elsewhere."""
        if self._live is not None:
            self._live.update(self._task, description=status.line(), completed=status.batch, total=status.batches)
        elif time.monotonic() - self._printed >= PLAIN_SECONDS:
            self.say(status.line())

    def activity(self, text: str) -> None:
        """Say on the live line what is being done besides training."""
        if self._live is not None:
            self._live.update(self._task, description=text)

    def epoch(self, record: dict[str, Any]) -> None:
        """One lasting line for a finished sub-epoch."""
        parts = [
            f"{name} " + " ".join(format_loss(term, value) for term, value in record[name].items())
            for name in ("train", "dev", "devtrain")
        ]
        speed = record["audio_seconds"] / max(record["seconds"], 1e-9)
        waited = record["wait"] / max(record["seconds"], 1e-9)
        self.say(
            f"epoch {record['epoch']}: {' | '.join(parts)} | lr {record['lr']:.2e} | {speed:.1f}x real time"
            f" | padding {record['padding']:.0%} | waiting {waited:.0%}"
        )
        if waited > WAITING:
            self.say(
                f"note: {waited:.0%} of the sub-epoch went by waiting for data; more loader workers (--workers), "
                "packed data (aedo pack) or a nearer disk help: aedo bench --data tells how fast they are read"
            )

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)
        self._printed = time.monotonic()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def format_loss(name: str, value: float) -> str:
    return f"{name} {value:.1%}" if name == "ler" else f"{name} {value:.3f}"


def duration(seconds: float) -> str:
    """Hours, minutes, seconds: the two largest units that matter."""
    whole = round(seconds)
    if whole >= 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
