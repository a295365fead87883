import io
from pathlib import Path

import pytest
from rich.console import Console

from aedo.sweep.display import SweepDisplay, epochs
from aedo.sweep.jobs import Search, Work
from aedo.sweep.plan import Job
from aedo.sweep.runner import Task
from tests.score.runs import small_experiment


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    names = ("a", "b", "c")
    return [Task(Job(name, 1, small_experiment(), name), tmp_path / f"{name}.log") for name in names]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path, tmp_path, (), (Search(),))


def shown(tasks: list[Task], work: Work, rows: int = 10) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(SweepDisplay(tasks, work, console).table(rows))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_what_runs_stands_first_and_the_rest_is_counted(tasks: list[Task], work: Work) -> None:
    tasks[2].state, tasks[1].state = "training", "failed"
    lines = shown(tasks, work, rows=2).splitlines()
    assert lines[0].startswith("0 of 3 done, 1 failed")
    assert [line.split()[0] for line in lines[2:4]] == ["c", "b"]
    assert "and 1 more" in lines[4]


def test_the_progress_is_read_off_the_end_of_the_log(tasks: list[Task], work: Work) -> None:
    run = tasks[0].job.path(work.out)
    assert epochs(tasks[0], work.out) == ("", "")
    run.mkdir()
    long = '{"epoch": 1, "dev": {"ler": 0.5}, "rest": "' + 20_000 * "x" + '"}\n'
    (run / "log.jsonl").write_text(long + '{"epoch": 2, "dev": {"ler": 0.345}}\n{"epoch": 3, "de')
    assert epochs(tasks[0], work.out) == ("2/8", "34.5%")
    (run / "log.jsonl").write_text(long + '{"epoch": 2, "dev": {"ce": 1.0}}\n')
    assert epochs(tasks[0], work.out) == ("2/8", "")


def test_without_a_terminal_every_change_is_a_line(tasks: list[Task], work: Work) -> None:
    console = Console(file=io.StringIO(), width=200)
    with SweepDisplay(tasks, work, console) as display:
        tasks[0].state = "training"
        display.changed(tasks[0])
        tasks[0].state, tasks[0].errors = "failed", ["ended with status 1", "no luck"]
        display.changed(tasks[0])
        display.tick()
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].startswith("0 of 3 done | a seed 1: training (log: ")
    assert lines[1].startswith("0 of 3 done, 1 failed | a seed 1: failed: no luck (log: ")
    assert len(lines) == 2
