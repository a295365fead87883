"""Averages of checkpoints: the arithmetic mean of their weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder, load_weights
from aedo.train.checkpoint import write_checkpoint
from aedo.train.config import TrainConfig
from aedo.train.keep import best_epochs, last_part

MOVING = "ema"
"""Label of the moving average."""


def mean_weights(checkpoints: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """The mean of every floating-point tensor, running statistics included; others come from the last checkpoint.

    Summed in float64, one checkpoint in memory at a time.
    """
    expected: dict[str, Tensor] | None = None
    sums: dict[str, Tensor] = {}
    for checkpoint in checkpoints:
        weights = load_weights(checkpoint.weights, expected)
        expected = weights if expected is None else expected
        for name, value in weights.items():
            if not value.is_floating_point():
                sums[name] = value
            elif name in sums:
                sums[name] += value
            else:
                sums[name] = value.double()
    assert expected is not None
    return {
        name: (total / len(checkpoints)).to(expected[name].dtype) if total.is_floating_point() else total
        for name, total in sums.items()
    }


def write_average(run: RunFolder, label: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Average `checkpoints` into the checkpoint `label`; nothing is done where it already is this very average."""
    newest = max(checkpoints, key=lambda checkpoint: checkpoint.epoch)
    sources = [checkpoint.label for checkpoint in checkpoints]
    folder = run.checkpoint_folder / label
    average = Checkpoint(folder, label, newest.epoch, newest.micro_step, newest.update, averaged=sources)
    if folder.is_dir() and Checkpoint.read(folder) == average:
        return average
    write_checkpoint(average, mean_weights(checkpoints), None)
    return average


def average_at_end(run: RunFolder, config: TrainConfig, moving: dict[str, Tensor] | None) -> list[Checkpoint]:
    """Every average that a finished training wants; `moving` are the weights of its moving average, if it has one."""
    made = []
    if config.average_fraction > 0:
        made.append(average_fraction(run, config.average_fraction))
    if config.average_last > 0:
        made.append(average_last(run, config.average_last))
    if config.average_best > 0:
        made.append(average_best(run, config.average_best, run.best_key()))
    if moving is not None:
        made.append(write_moving(run, moving))
    return made


def write_moving(run: RunFolder, weights: dict[str, Tensor]) -> Checkpoint:
    """Write the moving average that ended with the last sub-epoch as the checkpoint `ema`, unless it is there."""
    last = run.checkpoint("last")
    folder = run.checkpoint_folder / MOVING
    average = Checkpoint(folder, MOVING, last.epoch, last.micro_step, last.update, averaged=[last.label])
    if not (folder.is_dir() and Checkpoint.read(folder) == average):
        write_checkpoint(average, weights, None)
    return average


def average_last(run: RunFolder, count: int) -> Checkpoint:
    """Average of the last `count` epochs on disk."""
    done = _epochs(run, count)
    return write_average(run, f"average-last{count}", [done[epoch] for epoch in sorted(done)[-count:]])


def average_best(run: RunFolder, count: int, key: str) -> Checkpoint:
    """Average of the `count` epochs with the lowest dev value `key` (dev_ce, dev_ler, ...)."""
    done = _epochs(run, count)
    scores = {epoch: checkpoint.scores for epoch, checkpoint in done.items()}
    best = sorted(best_epochs(scores, key, count))
    if not best:
        known = ", ".join(sorted({name for values in scores.values() for name in values})) or "none"
        raise UserError(f"{run.checkpoint_folder}: no checkpoint has a value {key!r}; there are: {known}")
    suffix = "" if key == "dev_ce" else f"-{key}"
    return write_average(run, f"average-best{count}{suffix}", [done[epoch] for epoch in best])


def average_fraction(run: RunFolder, fraction: float) -> Checkpoint:
    """Average of the epochs on disk that lie in the last `fraction` of the whole training."""
    done = _epochs(run, 1)
    chosen = last_part(done, run.experiment().train.epochs, fraction)
    return write_average(run, f"average-last{100 * fraction:.12g}pct", [done[epoch] for epoch in chosen])


def _epochs(run: RunFolder, least: int) -> dict[int, Checkpoint]:
    done = {checkpoint.epoch: checkpoint for checkpoint in run.checkpoints() if not checkpoint.averaged}
    if len(done) < least:
        raise UserError(
            f"{run.checkpoint_folder}: {least} checkpoints of epochs asked for, {len(done)} there; ask for fewer"
        )
    return done
