"""What the user sees of a sweep: a live table on a terminal, a line for every change elsewhere."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from aedo.sweep.jobs import Work
from aedo.sweep.runner import Task
from aedo.train.display import duration

REFRESH = 1.0
"""Seconds between two drawings of the table."""
_ORDER = ("training", "recognising", "busy", "failed", "stopped", "done", "queued")
_STYLES = {"training": "bold", "recognising": "bold", "failed": "red", "stopped": "yellow", "done": "green"}
_TAIL = 8192


class SweepDisplay:
    """Use as a context; `changed` and `tick` are for the runner."""

    def __init__(self, tasks: Sequence[Task], work: Work, console: Console | None = None) -> None:
        self.tasks, self.work, self.console = tasks, work, console or Console()
        self._live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self._drawn = 0.0

    def __enter__(self) -> SweepDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self.table(len(self.tasks)), refresh=True)
            self._live.stop()

    def changed(self, task: Task) -> None:
        if self._live is None:
            self.say(f"{_count(self.tasks)} | {task.job.title}: {task.state}{_what_for(task)}")
        self._drawn = 0.0

    def tick(self) -> None:
        if self._live is not None and time.monotonic() - self._drawn >= REFRESH:
            self._live.update(self.table(max(3, self.console.size.height - 6)), refresh=True)
            self._drawn = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def table(self, rows: int) -> Table:
        """The tasks, those that run first; at most so many rows."""
        keys = [(cuts.name, search.name) for cuts in self.work.sets for search in self.work.searches]
        titles = [f"{name} {search}" if len(self.work.searches) > 1 else name for name, search in keys]
        table = Table(box=None, pad_edge=False, title=_count(self.tasks), title_justify="left", header_style="dim")
        table.add_column("experiment", overflow="fold")
        for title in ("seed", "state", "epoch", "dev ler", *(f"WER {title}" for title in titles), "time"):
            table.add_column(title, justify="left" if title == "state" else "right", no_wrap=True)
        ordered = sorted(self.tasks, key=lambda task: _ORDER.index(task.state))
        for task in ordered[:rows]:
            table.add_row(
                escape(task.job.name),
                str(task.job.experiment.train.seed),
                "done before" if task.kept else task.state,
                *epochs(task, self.work.out),
                *(f"{task.totals[key]['wer']:.2f}" if key in task.totals else "" for key in keys),
                _time(task),
                style=_STYLES.get(task.state),
            )
        if len(ordered) > rows:
            table.add_row(f"... and {len(ordered) - rows} more", style="dim")
        return table


def epochs(task: Task, out: Path) -> tuple[str, str]:
    """("12/30", "34.5 %"): sub-epochs finished and the last label error rate on dev; empty where there is none yet."""
    last = _last_line((task.run or task.job.path(out)) / "log.jsonl")
    if last is None or "epoch" not in last:
        return "", ""
    ler = last.get("dev", {}).get("ler")
    return f"{last['epoch']}/{task.job.experiment.train.epochs}", "" if ler is None else f"{ler:.1%}"


def _last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a JSON-lines file, however long the file is."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().split(b"\n")[:-1]
        found: dict[str, Any] | None = json.loads(lines[-1]) if lines else None
    except (OSError, ValueError):
        return None
    return found


def _time(task: Task) -> str:
    if task.state in ("training", "recognising") and task.began is not None:
        return duration(time.monotonic() - task.began)
    return duration(task.seconds) if task.seconds else ""


def _count(tasks: Sequence[Task]) -> str:
    """3 of 8 done, 1 failed."""
    done, failed = (sum(task.state == state for task in tasks) for state in ("done", "failed"))
    return f"{done} of {len(tasks)} done" + (f", {failed} failed" if failed else "")


def _what_for(task: Task) -> str:
    if task.state == "done":
        rates = ", ".join(f"{name} {totals['wer']:.2f} % ({search})" for (name, search), totals in task.totals.items())
        return f" in {duration(task.seconds)}: {rates}"
    if task.state == "failed":
        return f": {task.errors[-1] if task.errors else ''} (log: {task.log})"
    return f" (log: {task.log})" if task.state == "training" else ""
