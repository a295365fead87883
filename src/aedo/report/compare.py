"""Several runs side by side: what differs in their trees, and whether their error rates differ by more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from aedo.errors import UserError
from aedo.report.curves import overlay, title_of
from aedo.report.gather import Run
from aedo.report.tables import REFERENCE, Cell, cell
from aedo.score.bootstrap import Comparison
from aedo.score.wer import compare

_ABSENT = object()


@dataclass(frozen=True)
class Against:
    """A run's result on one set beside the baseline's."""

    cell: Cell
    comparison: Comparison | None
    """None for the baseline, and where the two cannot be paired (`why` says so)."""
    why: str = ""


@dataclass(frozen=True)
class Row:
    run: Run
    number: int
    """Of the run's own section."""
    differing: dict[str, Any]
    """Fields whose value differs from the baseline's."""
    tags: str
    """Tags of the name that the baseline's has not (+), and the other way round (-)."""
    against: dict[str, Against]
    """By set."""
    finals: dict[str, float]
    """Dev values at the last sub-epoch."""


@dataclass(frozen=True)
class Field:
    """A field in which the runs differ."""

    path: str
    values: list[str]
    """By row; "-" where a tree has no such field."""


@dataclass(frozen=True)
class Comparisons:
    rows: list[Row]
    """The first is the baseline."""
    fields: list[Field]
    sets: list[str]
    terms: list[str]
    reference: dict[str, float]
    curves: list[Markup]


def compare_runs(runs: list[Run]) -> Comparisons:
    """The first run is the baseline; the others follow by what differs from it, few differences first."""
    baseline = runs[0]
    numbered = list(enumerate(runs, start=1))
    rows = [_row(run, number, baseline) for number, run in numbered]
    rows = [rows[0], *sorted(rows[1:], key=lambda row: (len(row.differing), sorted(row.differing), row.run.name))]
    paths = sorted({path for row in rows for path in row.differing})
    fields = [Field(path, [_shown(row.run.leaves.get(path, _ABSENT)) for row in rows]) for path in paths]
    sets = sorted({name for row in rows for name in row.against})
    terms = [term for term in rows[0].run.terms if sum(term in row.finals for row in rows) > 1]
    curves = [
        overlay(
            [
                (row.run.name, [(x, 100 * y if term == "ler" else y) for x, y in row.run.series("dev", term)])
                for row in rows
            ],
            f"dev: {title_of(term)}",
            f"all-{term}",
            log=term != "ler",
        )
        for term in terms
    ]
    return Comparisons(rows, fields, sets, terms, {n: REFERENCE[n] for n in sets if n in REFERENCE}, curves)


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Leaves of `second` that are not the same in `first`; those only `first` has hold None."""
    paths = first.keys() | second.keys()
    return {p: second.get(p) for p in sorted(paths) if first.get(p, _ABSENT) != second.get(p, _ABSENT)}


def _row(run: Run, number: int, baseline: Run) -> Row:
    against = {}
    for name in run.sets:
        result = run.result(run.main_label, name)
        if result is None:
            continue
        other = baseline.result(baseline.main_label, name)
        comparison, why = None, ""
        if run is not baseline:
            if other is None or other.score is None or result.score is None:
                why = "the baseline has no utterances of this set" if result.score else "no utterances to compare"
            else:
                try:
                    comparison = compare(other.score, result.score)
                except UserError as error:
                    why = str(error)
        against[name] = Against(cell(result), comparison, why)
    finals = {term: points[-1][1] for term in run.terms if (points := run.series("dev", term))}
    return Row(run, number, differences(baseline.leaves, run.leaves), _tags(baseline.name, run.name), against, finals)


def _tags(first: str, second: str) -> str:
    """(24gb-v6-posdrop01, 24gb-v6-ls02) -> +ls02 -posdrop01."""
    old, new = first.split("-"), second.split("-")
    return " ".join([*(f"+{tag}" for tag in new if tag not in old), *(f"−{tag}" for tag in old if tag not in new)])


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return "none" if value is None else str(value)
