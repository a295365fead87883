"""What a sweep leaves behind: one page, and the same numbers for reading elsewhere.

OUT/sweep/
  comparison.html      the page
  comparison.md, .png  its table and its picture of the error rates, for notes
  comparison.json      all numbers, by experiment
  runs.csv             one line a training and set
  epochs.csv           one line a training and sub-epoch
  logs/                what every job has printed
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aedo.files import explained, write_text
from aedo.report.compare import Comparisons, Row, compare_runs
from aedo.report.forest import forest, write_png
from aedo.report.gather import DATASETS, Run, SetResult, gather
from aedo.report.overfitting import final_ratio, ratio_over_time
from aedo.report.page import compared, fill
from aedo.sweep.jobs import Work
from aedo.sweep.runner import Task

PAGE = "comparison.html"


@dataclass(frozen=True)
class Failure:
    """A job that did not come to its end."""

    title: str
    state: str
    log: str
    lines: list[str]


def write_comparison(tasks: Sequence[Task], work: Work, folder: Path, command: Sequence[str] = ()) -> Path:
    """Write the page and the files beside it, as far as the tasks are done; returns the page's path."""
    labels = {task.run: _labels(task) for task in tasks if task.state == "done" and task.run is not None}
    runs = [gather(path, steps=False, labels=found.values()) for path, found in labels.items()]
    several = len(work.searches) > 1

    def choice(run: Run) -> list[tuple[str, SetResult]]:
        found = ((key, run.result(label, key[0])) for key, label in labels[run.folder.path].items())
        return [(_column(key, several=several), result) for key, result in found if result is not None]

    comparison = compare_runs(runs, choice, ordered=True) if runs else None
    failures = [
        Failure(task.job.title, task.state, str(task.log), task.errors)
        for task in tasks
        if task.state in ("failed", "stopped")
    ]
    open_jobs = len(tasks) - len(runs) - len(failures)
    coming = [f"{open_jobs} of {len(tasks)} jobs are still to come"] if open_jobs else []
    with explained(folder, "write the comparison"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / PAGE, _page(comparison, runs, failures, coming, command))
        if comparison is not None:
            write_text(folder / "comparison.md", markdown(comparison))
            write_text(folder / "comparison.json", json.dumps(as_json(comparison), indent=1) + "\n")
            write_text(folder / "runs.csv", _csv(_run_lines(comparison, choice)))
            write_text(folder / "epochs.csv", _csv(_epoch_lines(runs, comparison.ratio_term)))
            for number, column in enumerate(comparison.columns):
                name = "comparison.png" if number == 0 else f"comparison-{column.replace(', ', '-')}.png"
                write_png(forest(comparison, column), folder / name)
    return folder / PAGE


def markdown(comparison: Comparisons) -> str:
    """The table of error rates, a section a column."""
    parts = []
    for column in comparison.columns:
        lines = [
            f"| {column} | WER % | interval | seeds | difference | interval | verdict | overfitting |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_markdown_row(row, column) for row in comparison.rows if column in row.outcomes]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def as_json(comparison: Comparisons) -> dict[str, Any]:
    """All numbers, by experiment; the first is the baseline."""
    return {
        "seed_spread": {name: spread._asdict() for name, spread in comparison.spreads.items()},
        "resampled": {name: "speakers" if yes else "utterances" for name, yes in comparison.by_speaker.items()},
        "overfitting_of": comparison.ratio_term,
        "experiments": [_experiment(row) for row in comparison.rows],
    }


def _page(
    comparison: Comparisons | None,
    runs: Sequence[Run],
    failures: Sequence[Failure],
    coming: Sequence[str],
    command: Sequence[str],
) -> str:
    return fill(
        "sweep.html",
        title="Sweep" if comparison is None else f"{len(comparison.rows)} experiments compared",
        command=shlex.join(command),
        notices=[*coming, *(notice for run in runs for notice in run.notices)],
        failures=failures,
        sections=[],
        **compared(comparison),
    )


def _labels(task: Task) -> dict[tuple[str, str], str]:
    """(set, search) -> the folder of the results in the run's recog."""
    return {key: totals["folder"] for key, totals in task.totals.items()}


def _column(key: tuple[str, str], *, several: bool) -> str:
    return ", ".join(key) if several else key[0]


def _markdown_row(row: Row, column: str) -> str:
    outcome, ratio = row.outcomes[column], row.overfitting
    interval = "" if outcome.interval is None else f"{outcome.interval.low:.2f} to {outcome.interval.high:.2f}"
    seeds = ", ".join(f"{rate:.2f}" for rate in outcome.rates)
    difference, gap, found = "", "", outcome.comparison
    if found is not None:
        difference, gap = f"{found.difference:+.2f}", f"{found.interval.low:+.2f} to {found.interval.high:+.2f}"
    cells = [row.name, f"{outcome.mean:.2f}", interval, seeds, difference, gap, outcome.verdict or "baseline"]
    return "| " + " | ".join([*cells, "" if ratio is None else f"{ratio:.2f}"]) + " |"


def _experiment(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "tags": row.tags,
        "runs": [str(run.folder.path) for run in row.runs],
        "seeds": row.seeds,
        "checkpoints": row.labels,
        "changes": [vars(change) for change in row.changes],
        "dev": row.finals,
        "overfitting": row.overfitting,
        "seconds": row.seconds,
        "results": {
            column: {
                "wer": outcome.mean,
                "wer_by_seed": outcome.rates,
                "interval": None if outcome.interval is None else outcome.interval._asdict(),
                "difference": None
                if outcome.comparison is None
                else {
                    **outcome.comparison._asdict(),
                    "interval": outcome.comparison.interval._asdict(),
                    "p_value_corrected": outcome.corrected,
                },
                "verdict": outcome.verdict,
            }
            for column, outcome in row.outcomes.items()
        },
    }


def _run_lines(comparison: Comparisons, choice: Any) -> Iterator[dict[str, Any]]:
    for row in comparison.rows:
        for seed, run in zip(row.seeds, row.runs, strict=True):
            for column, result in choice(run):
                totals = result.totals
                yield {
                    "name": row.name,
                    "tags": row.tags,
                    "seed": seed,
                    "set": column,
                    "checkpoint": result.checkpoint,
                    **{key: totals.get(key) for key in ("wer", "words", "substitutions", "deletions", "insertions")},
                    "overfitting": final_ratio(run, comparison.ratio_term),
                    "seconds": sum(value for _, value in run.scalars("seconds")),
                    "run": str(run.folder.path),
                }


def _epoch_lines(runs: Sequence[Run], term: str | None) -> Iterator[dict[str, Any]]:
    keys = [f"{data}_{loss}" for data in DATASETS for loss in dict.fromkeys(t for run in runs for t in run.terms)]
    for run in runs:
        ratios = {} if term is None else dict(ratio_over_time(run, term))
        for epoch in run.epochs:
            values = {f"{data}_{t}": v for data in DATASETS for t, v in (epoch.get(data) or {}).items()}
            yield {
                "name": run.name,
                "seed": run.leaves.get("train.seed"),
                "epoch": epoch["epoch"],
                "lr": epoch.get("lr"),
                "seconds": epoch.get("seconds"),
                **{key: values.get(key) for key in keys},
                "overfitting": ratios.get(float(epoch["epoch"])),
            }


def _csv(lines: Iterator[dict[str, Any]]) -> str:
    text, rows = io.StringIO(), list(lines)
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
