"""The overfitting ratio: how many times more label errors on dev than on training utterances measured like dev."""

from __future__ import annotations

from collections.abc import Sequence

from aedo.report.gather import Run


def ratio_over_time(run: Run, term: str) -> list[tuple[float, float]]:
    """(sub-epoch, dev / devtrain) of a loss or the label error rate; 1: no gap.  Nothing where devtrain is 0."""
    seen = dict(run.series("devtrain", term))
    return [(x, y / seen[x]) for x, y in run.series("dev", term) if seen.get(x)]


def ratio_term(runs: Sequence[Run]) -> str | None:
    """What the ratio is taken of: the label error rate, or the last of the losses that all runs have."""
    common = [term for term in runs[0].terms if all(term in run.terms for run in runs)]
    return common[-1] if common else None


def final_ratio(run: Run, term: str | None) -> float | None:
    """dev / devtrain at the last sub-epoch; infinite where no label of devtrain is wrong any more."""
    if term is None:
        return None
    dev, seen = run.series("dev", term), dict(run.series("devtrain", term))
    if not dev or dev[-1][0] not in seen:
        return None
    (x, value) = dev[-1]
    return value / seen[x] if seen[x] else float("inf") if value else 1.0
