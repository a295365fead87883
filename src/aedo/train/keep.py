"""Which checkpoints stay on disk, and which are averaged at the end of the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aedo.train.config import KeepConfig


def fixed_epochs(epochs: int) -> set[int]:
    """Sub-epochs of a training of `epochs` whose checkpoints stay whatever their score.

    Multiples of a step that grows with the training, doublings of a smaller one, and the last.  Source: RETURNN,
    engine/base.py, cleanup_old_models.
    """
    if epochs <= 10:
        every, doubling = 4, 5
    elif epochs <= 50:
        every, doubling = 20, 5
    elif epochs <= 100:
        every, doubling = 40, 10
    else:
        every, doubling = 80 * _next_power_of_two(1 + epochs // 240), 20
    fixed = set(range(every, epochs + 1, every)) | {epochs}
    while doubling <= epochs:
        fixed.add(doubling)
        doubling *= 2
    return fixed


def kept_epochs(scores: Mapping[int, Mapping[str, float]], epochs: int, config: KeepConfig) -> set[int]:
    """Those of the epochs in `scores` (their dev values, smaller is better) that stay, in a training of `epochs`."""
    done = sorted(scores)
    kept = fixed_epochs(epochs) & set(done)
    kept |= set(done[-config.last :])
    for key in {key for values in scores.values() for key in values}:
        kept |= set(best_epochs(scores, key, config.best))
    return kept


def best_epochs(scores: Mapping[int, Mapping[str, float]], key: str, count: int) -> list[int]:
    """The `count` epochs with the smallest value of `key`, best first; the earlier one where values are equal."""
    scored = [(values[key], epoch) for epoch, values in scores.items() if values.get(key, float("nan")) < float("inf")]
    return [epoch for _, epoch in sorted(scored)[:count]]


def last_part(done: Iterable[int], epochs: int, fraction: float) -> list[int]:
    """Those of the epochs `done` that lie in the last `fraction` of a training of `epochs`; the last one at least."""
    ordered = sorted(done)
    return [epoch for epoch in ordered if epochs - epoch < round(fraction * epochs, 6)] or ordered[-1:]


def _next_power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
