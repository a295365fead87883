"""Micro-steps that came to nothing because a loss or a gradient was not finite."""

from __future__ import annotations

from aedo.errors import UserError
from aedo.run import RunFolder
from aedo.train.precision import Precision
from aedo.train.step import Update

NAMED = 5
"""Utterances named in a message; the log names them all."""


class Failures:
    """Counts skipped micro-steps in a row, and ends the training where they don't end."""

    def __init__(self, limit: int, precision: Precision) -> None:
        self.limit, self.precision, self.in_a_row = limit, precision, 0
        self._known: set[str] = set()

    def first_time(self, utterance: str) -> bool:
        """Whether this utterance is met for the first time: the terminal shows each one once."""
        new = utterance not in self._known
        self._known.add(utterance)
        return new

    def good(self) -> None:
        self.in_a_row = 0

    def skipped(self, update: Update) -> str:
        """Note a skipped update; what to tell about it."""
        self.in_a_row += len(update.totals)
        losses = ", ".join(f"{total:.4g}" for total in update.totals)
        return f"update skipped: loss {losses}, gradient norm {update.grad_norm:.4g}; utterances " + "; ".join(
            _some(ids) for ids in update.bad[:NAMED]
        )

    def check(self, run: RunFolder, micro_step: int) -> None:
        """UserError where more micro-steps in a row, up to `micro_step`, failed than the experiment allows."""
        if self.in_a_row > self.limit:
            newest = run.resumable()
            intact = "there is no checkpoint yet" if newest is None else f"checkpoint {newest.label} is intact"
            raise UserError(
                f"{run.path}: {self.in_a_row} micro-steps in a row (since micro-step {micro_step - self.in_a_row + 1}) "
                f"had a loss or gradient that is not finite in {self.precision} (limit: train.max_bad_steps "
                f"{self.limit}); {intact}; the utterances are named in events.jsonl. "
                "Try a lower learning rate, clipped gradients or "
                + ("bfloat16" if self.precision == "float16" else "float32")
            )


def _some(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more
