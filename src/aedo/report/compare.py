"""Experiments side by side: what differs in their trees, and whether their error rates differ by more than chance.

Runs that differ in nothing but the seed are trainings of one experiment and share a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from aedo.errors import UserError
from aedo.report.gather import Leaves, Run, SetResult
from aedo.report.overfitting import final_ratio, ratio_term
from aedo.report.tables import REFERENCE
from aedo.score.bootstrap import Comparison, Interval
from aedo.score.seeds import Sample, Spread, compare_samples, holm, mean_interval

SEED = "train.seed"
_ABSENT = object()

Choice = Callable[[Run], list[tuple[str, SetResult]]]
"""The results of a run that are compared, each with the title of its column."""


@dataclass
class Outcome:
    """An experiment on one set (the column), beside the baseline."""

    rates: list[float]
    """WER in percent, by training."""
    interval: Interval | None
    """Of their mean; None where there are no utterances to resample."""
    comparison: Comparison | None = None
    """With the baseline's; None for the baseline itself, and where the two cannot be paired (`why` says so)."""
    corrected: float | None = None
    """p, corrected for the number of comparisons in the column."""
    why: str = ""

    @property
    def mean(self) -> float:
        return sum(self.rates) / len(self.rates)

    @property
    def verdict(self) -> str:
        """In plain words; empty where nothing is compared."""
        if self.comparison is None:
            return "not comparable" if self.why else ""
        low, high = self.comparison.interval.low, self.comparison.interval.high
        return "better" if high < 0 else "worse" if low > 0 else "no difference shown"


@dataclass(frozen=True)
class Change:
    """A field in which an experiment differs from the baseline."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Row:
    """One experiment."""

    name: str
    runs: list[Run]
    """Its trainings."""
    numbers: list[int]
    """Of the runs, as they were given."""
    labels: list[str]
    """Checkpoints decoded."""
    changes: list[Change]
    tags: str
    """Tags of the name that the baseline's has not (+), and the other way round (-)."""
    outcomes: dict[str, Outcome]
    """By column."""
    finals: dict[str, float]
    """Dev values at the last sub-epoch, mean over the trainings."""
    overfitting: float | None
    """dev / devtrain at the last sub-epoch, mean over the trainings."""
    seconds: float | None
    """Training time, mean over the trainings."""

    @property
    def seeds(self) -> list[str]:
        return [str(run.leaves.get(SEED, "?")) for run in self.runs]

    @property
    def unfinished(self) -> list[str]:
        """Trainings that are not at their end: "seed 2: 3 of 8 sub-epochs"."""
        found = []
        for seed, run in zip(self.seeds, self.runs, strict=True):
            done, asked = run.epochs[-1]["epoch"] if run.epochs else 0, run.leaves.get("train.epochs")
            if isinstance(asked, int) and done < asked:
                found.append(f"seed {seed}: {done} of {asked} sub-epochs")
        return found


@dataclass(frozen=True)
class Comparisons:
    rows: list[Row]
    """The first is the baseline."""
    columns: list[str]
    terms: list[str]
    """Of the losses, those that more than one experiment has."""
    reference: dict[str, float]
    """By column."""
    spreads: dict[str, Spread]
    """Over seeds, by column."""
    by_speaker: dict[str, bool]
    """Whether speakers are resampled, by column."""
    ratio_term: str | None
    """What the overfitting ratio is taken of."""
    pictures: list[Markup] = field(default_factory=list)
    """Error rates and differences, drawn."""
    curves: list[Markup] = field(default_factory=list)


def main_results(run: Run) -> list[tuple[str, SetResult]]:
    """Those of the checkpoint with the fewest errors on dev, by set."""
    return [(result.name, result) for result in run.results if result.label == run.main_label]


def compare_runs(runs: list[Run], choice: Choice = main_results, *, ordered: bool = False) -> Comparisons:
    """The first run's experiment is the baseline.

    The others follow by what differs from it, few differences first, or, where they are `ordered`, as they come.
    """
    groups = _groups(runs)
    baseline = groups[0][0][1]
    chosen = [[dict(choice(run)) for _, run in group] for group in groups]
    columns = sorted({column for results in chosen for result in results for column in result})
    samples = [{c: s for c in columns if (s := _sample([r.get(c) for r in results])) is not None} for results in chosen]
    scored = {c: [found for s in samples if isinstance(found := s.get(c), Sample)] for c in columns}
    spreads = {c: Spread.of(scored[c]) for c in columns}
    term = ratio_term(runs)
    rows = []
    for group, results, sample in zip(groups, chosen, samples, strict=True):
        first = None if group is groups[0] else samples[0]
        outcomes = {c: o for c in columns if (o := _outcome(c, results, sample, first, spreads[c])) is not None}
        rows.append(_row(group, results, baseline, outcomes, term))
    _correct(rows, columns)
    if not ordered:
        rows[1:] = sorted(rows[1:], key=lambda row: (len(row.changes), [c.path for c in row.changes], row.name))
    terms = [t for t in rows[0].runs[0].terms if sum(t in row.finals for row in rows) > 1]
    by_speaker = {c: any(sample.by_speaker for sample in scored[c]) for c in columns}
    reference = {c: REFERENCE[c] for c in columns if c in REFERENCE}
    return Comparisons(rows, columns, terms, reference, spreads, by_speaker, term)


def differences(first: Leaves, second: Leaves) -> list[Change]:
    """Leaves that are not the same; of a part that only one side has, only that it is there or not."""
    paths = {p for p in first.keys() | second.keys() if first.get(p, _ABSENT) != second.get(p, _ABSENT)}
    whole = sorted(p for p in paths if not any(p.startswith(f"{other}.") for other in paths if other != p))
    return [Change(p, _shown(first, p), _shown(second, p)) for p in whole]


def _groups(runs: Sequence[Run]) -> list[list[tuple[int, Run]]]:
    """Trainings of one experiment together, with their numbers; in the order in which the experiments come."""
    groups: dict[str, list[tuple[int, Run]]] = {}
    for number, run in enumerate(runs, start=1):
        origin = run.info.get("from")
        tree = {path: value for path, value in run.leaves.items() if path != SEED}
        begun = origin.get("sha256") if isinstance(origin, dict) else None
        groups.setdefault(json.dumps([tree, begun], sort_keys=True), []).append((number, run))
    return list(groups.values())


def _sample(results: Sequence[SetResult | None]) -> Sample | str | None:
    """The errors of a group on a set; why there are none; or None where nothing was decoded."""
    found = [result for result in results if result is not None]
    if not found:
        return None
    if not all(result.lines for result in found):
        return "no utterances to compare"
    try:
        return Sample.of([result.pairs for result in found])
    except UserError as error:
        return str(error)


def _outcome(
    column: str,
    results: Sequence[dict[str, SetResult]],
    samples: dict[str, Sample | str],
    baseline: dict[str, Sample | str] | None,
    spread: Spread,
) -> Outcome | None:
    """`baseline`: None for the baseline itself."""
    sample = samples.get(column)
    if sample is None:
        return None
    if isinstance(sample, str):
        rates = [float(result[column].totals["wer"]) for result in results if column in result]
        return Outcome(rates, None, why="" if baseline is None else sample)
    outcome = Outcome(sample.rates, mean_interval(sample, spread))
    if baseline is not None:
        other = baseline.get(column, "the baseline has no utterances of this set")
        try:
            if isinstance(other, str):
                raise UserError(other)
            outcome.comparison = compare_samples(other, sample, spread)
        except UserError as error:
            outcome.why = str(error)
    return outcome


def _correct(rows: Sequence[Row], columns: Sequence[str]) -> None:
    for column in columns:
        compared = [o for row in rows if (o := row.outcomes.get(column)) is not None and o.comparison is not None]
        corrected = holm([outcome.comparison.p_value for outcome in compared if outcome.comparison is not None])
        for outcome, p_value in zip(compared, corrected, strict=True):
            outcome.corrected = p_value


def _row(
    group: list[tuple[int, Run]],
    results: Sequence[dict[str, SetResult]],
    baseline: Run,
    outcomes: dict[str, Outcome],
    term: str | None,
) -> Row:
    runs = [run for _, run in group]
    terms = {t for run in runs for t in run.terms}
    last = {t: [points[-1][1] for run in runs if (points := run.series("dev", t))] for t in terms}
    seconds = [sum(value for _, value in run.scalars("seconds")) for run in runs if run.scalars("seconds")]
    own = {path: value for path, value in runs[0].leaves.items() if path != SEED}
    base = {path: value for path, value in baseline.leaves.items() if path != SEED}
    return Row(
        runs[0].name,
        runs,
        [number for number, _ in group],
        list(dict.fromkeys(result.label for by_column in results for result in by_column.values())),
        differences(base, own),
        _tags(baseline.name, runs[0].name),
        outcomes,
        {t: mean for t, values in last.items() if (mean := _mean(values)) is not None},
        _mean([ratio for run in runs if (ratio := final_ratio(run, term)) is not None]),
        _mean(seconds),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _tags(first: str, second: str) -> str:
    """(24gb-v6-posdrop01, 24gb-v6-ls02) -> +ls02 -posdrop01."""
    old, new = first.split("-"), second.split("-")
    return " ".join([*(f"+{tag}" for tag in new if tag not in old), *(f"−{tag}" for tag in old if tag not in new)])


def _shown(leaves: Leaves, path: str) -> str:
    if path not in leaves:
        return "a part of its own" if any(other.startswith(f"{path}.") for other in leaves) else "–"
    return _plain(leaves[path])


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return "none" if value is None else str(value)
