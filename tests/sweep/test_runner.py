"""Processes, places and signals, with commands that are quicker than a training."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aedo.sweep import runner
from aedo.sweep.jobs import Work
from aedo.sweep.plan import Job
from aedo.sweep.runner import Runner, Task, default_threads, is_busy, places
from tests.score.runs import small_experiment


class Scripts:
    """In the place of `next_command`: each job runs its little programs in turn; a job without any left is done."""

    def __init__(self, programs: dict[str, list[str]]) -> None:
        self.programs = {name: list(those) for name, those in programs.items()}
        self.started: list[str] = []

    def __call__(self, job: Job, work: Work) -> tuple[str, list[str]] | None:
        left = self.programs[job.name]
        if not left:
            return None
        self.started.append(job.name)
        return ("training", "recognising")[len(left) == 1], [sys.executable, "-c", left.pop(0)]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(
        programs: dict[str, list[str]], places: int = 1, **options: Any
    ) -> tuple[Runner, dict[str, Task], Scripts]:
        scripts = Scripts(programs)
        monkeypatch.setattr(runner, "next_command", scripts)
        monkeypatch.setattr(Runner, "_finish", lambda self, task: None)
        monkeypatch.setattr(runner, "POLL", 0.01)
        experiment = small_experiment()
        tasks = [Task(Job(name, None, experiment, name), tmp_path / "logs" / f"{name}.log") for name in programs]
        work = Work(tmp_path, tmp_path, (), ())
        return Runner(tasks, work, [{}] * places, **options), {task.job.name: task for task in tasks}, scripts

    return make


def never() -> bool:
    return False


def test_a_failed_job_stops_no_other(sweep: Any) -> None:
    run, tasks, _ = sweep({"a": ["1", "2"], "b": ["print('on the way'); raise SystemExit('no way')"], "c": ["3"]})
    run.run(never)
    assert {name: task.state for name, task in tasks.items()} == {"a": "done", "b": "failed", "c": "done"}
    assert tasks["b"].errors[0] == "ended with status 1"
    assert tasks["b"].errors[-2:] == ["on the way", "no way"]


def test_a_killed_job_is_told_by_its_signal(sweep: Any) -> None:
    run, tasks, _ = sweep({"a": ["import os; os.kill(os.getpid(), 9)"]})
    run.run(never)
    assert tasks["a"].errors[0] == "ended by SIGKILL; out of memory?"


def test_jobs_run_side_by_side_in_their_places(sweep: Any, tmp_path: Path) -> None:
    meet = "import os, time\nopen({mine!r}, 'w')\nwhile not os.path.exists({other!r}): time.sleep(0.01)"
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    run, tasks, _ = sweep({"a": [meet.format(mine=one, other=two)], "b": [meet.format(mine=two, other=one)]}, places=2)
    run.run(never)
    assert all(task.state == "done" for task in tasks.values())


def test_on_a_stop_the_running_jobs_are_asked_once_and_no_other_starts(sweep: Any, tmp_path: Path) -> None:
    saves = (
        "import signal, sys, time\n"
        "def save(*_):\n  open({saved!r}, 'a').write('saved')\n  sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save)\nopen({ready!r}, 'w')\ntime.sleep(60)"
    )
    saved, ready = tmp_path / "saved", tmp_path / "ready"
    run, tasks, scripts = sweep({"a": [saves.format(saved=str(saved), ready=str(ready))], "b": ["1"]})
    run.run(ready.exists)
    assert saved.read_text() == "saved"
    assert (tasks["a"].state, tasks["b"].state) == ("stopped", "queued")
    assert scripts.started == ["a"]


def test_an_error_of_the_sweep_leaves_no_process_behind(sweep: Any, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"import os, time; open({str(pid) + '.new'!r}, 'w').write(str(os.getpid()))\n"
    program += f"os.rename({str(pid) + '.new'!r}, {str(pid)!r}); time.sleep(60)"

    def tick() -> None:
        if pid.exists():
            raise KeyboardInterrupt

    run, _, _ = sweep({"a": [program]}, tick=tick)
    with pytest.raises(KeyboardInterrupt):
        run.run(never)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_training_that_does_not_finish_is_not_started_for_ever(sweep: Any) -> None:
    run, tasks, scripts = sweep({"a": ["1", "2", "3"]})
    run.run(never)
    assert tasks["a"].state == "failed"
    assert "holds no finished training" in tasks["a"].errors[0]
    assert scripts.started == ["a", "a"]


def test_a_job_trained_elsewhere_waits_until_that_ends(sweep: Any) -> None:
    run, tasks, _ = sweep({"a": ["1"], "b": ["1"]})
    path = tasks["a"].job.path(run.work.out)
    path.mkdir()
    hold = (
        f"import fcntl, time\nf = open({str(path / 'lock')!r}, 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint(flush=True)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", hold + "time.sleep(60)"], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    assert is_busy(path)
    states: list[str] = []

    def tick() -> None:
        states.append(tasks["a"].state)
        if states.count("busy") == 3:
            other.kill()
            other.wait()

    run.tick = tick
    run.run(never)
    assert states[0] == "busy"
    assert tasks["a"].state == tasks["b"].state == "done"


def test_a_free_folder_is_not_busy(tmp_path: Path) -> None:
    assert not is_busy(tmp_path / "missing")
    assert not is_busy(tmp_path)
    with open(tmp_path / "lock", "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert not is_busy(tmp_path)  # our own


def test_with_gpus_there_is_a_place_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    two = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert places(None, "auto") == two
    assert places(3, "auto") == [*two, two[0]]
    assert places(1, "auto") == [{}]
    assert places(2, "cpu") == [{}, {}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(None, "auto")] == ["4", "7"]
    assert default_threads(places(None, "auto")) is None


def test_without_gpus_the_cores_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert places(None, "auto") == [{}]
    assert default_threads(places(3, "auto")) == 2
    assert default_threads(places(16, "auto")) == 1
    assert default_threads(places(1, "auto")) is None


def test_waiting_costs_no_processor_time(sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _, _ = sweep({"a": ["import time; time.sleep(1)"]})
    monkeypatch.setattr(runner, "POLL", 0.2)
    before = time.process_time()
    run.run(never)
    assert time.process_time() - before < 0.5
