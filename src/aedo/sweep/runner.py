"""Runs the jobs of a sweep, some side by side, each step a process of its own with its own log."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from aedo.errors import UserError
from aedo.files import explained
from aedo.sweep.jobs import Step, Work, find_run, is_trained, next_command, results
from aedo.sweep.plan import Job
from aedo.train.signals import EXIT_REQUEUE

State = Literal["queued", "busy", "training", "recognising", "done", "failed", "stopped"]

POLL = 0.2
"""Seconds between two looks at the processes."""
ERROR_LINES = 12
"""Of a failed job's log, shown at the end."""

NOT_AT_ITS_END = (
    "aedo train ended without an error, but the run folder planned for it holds no finished training; was the program "
    "changed in the meantime? run the same command again"
)

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass
class Task:
    """A job on its way."""

    job: Job
    log: Path
    state: State = "queued"
    kept: bool = False
    """It was done already."""
    errors: list[str] = field(default_factory=list)
    """Why it failed: the last lines of its log."""
    totals: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Results by (set, search), once it is done."""
    run: Path | None = None
    began: float | None = None
    seconds: float = 0.0
    """From its start to its end, in this sweep."""


@dataclass
class _Slot:
    """Room for one job."""

    environment: dict[str, str]
    task: Task | None = None
    step: Step | None = None
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None
    log_start: int = 0


class Runner:
    """Works through tasks; `changed` hears of every task that gets another state, `tick` is called at every look."""

    def __init__(
        self,
        tasks: Sequence[Task],
        work: Work,
        environments: Iterable[dict[str, str]],
        changed: Callable[[Task], None] = lambda task: None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.tasks, self.work = list(tasks), work
        self.changed, self.tick = changed, tick
        self.slots = [_Slot(environment) for environment in environments]
        self._threads = {} if work.threads is None else {"OMP_NUM_THREADS": str(work.threads)}
        self._asked = False

    def run(self, stopped: Callable[[], bool]) -> None:
        """Until all is done or failed, or, once `stopped`, until the processes have saved and ended."""
        try:
            while True:
                self._collect()
                if stopped():
                    self._ask_to_stop()
                else:
                    self._fill()
                self.tick()
                idle = all(slot.task is None for slot in self.slots)
                if idle and (stopped() or not any(task.state in ("queued", "busy") for task in self.tasks)):
                    return
                time.sleep(POLL)
        finally:
            self._kill()

    def _fill(self) -> None:
        waiting = [task for task in self.tasks if task.state in ("queued", "busy")]
        for slot in self.slots:
            while slot.task is None and waiting:
                task = waiting.pop(0)
                if is_busy(task.job.path(self.work.out)):
                    self._become(task, "busy")
                    continue
                self._begin(slot, task)

    def _begin(self, slot: _Slot, task: Task) -> None:
        with explained(task.log, "write the log of a job"):
            task.log.parent.mkdir(parents=True, exist_ok=True)
            slot.log = open(task.log, "ab")  # noqa: SIM115 (closed when the task leaves the slot)
        slot.task, slot.step, task.errors, task.began = task, None, [], time.monotonic()
        slot.log_start = slot.log.tell()
        self._go_on(slot)

    def _go_on(self, slot: _Slot) -> None:
        """Start the next step of the slot's task, or end it."""
        task = slot.task
        assert task is not None
        assert slot.log is not None
        try:
            command = next_command(task.job, self.work)
        except UserError as error:
            self._end(slot, "failed", [str(error)])
            return
        if command is None:
            self._finish(task)
            self._end(slot, "done")
            return
        step, words = command
        if step == slot.step == "training":
            self._end(slot, "failed", [NOT_AT_ITS_END])
            return
        slot.step = step
        slot.log.write(f"$ {shlex.join(words)}\n".encode())
        slot.log.flush()
        slot.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=slot.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self._threads, **slot.environment},
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which passes it on once
            preexec_fn=_die_with(os.getpid()),
        )
        self._become(task, step)

    def _finish(self, task: Task) -> None:
        run = find_run(task.job, self.work.out)
        assert run is not None
        task.run = run.path
        task.totals = {key: totals for key, totals in results(run, self.work).items() if totals is not None}

    def _collect(self) -> None:
        for slot in self.slots:
            if slot.process is None or slot.process.poll() is None:
                continue
            status, slot.process = slot.process.returncode, None
            if self._asked and status != 0:
                self._end(slot, "stopped")
            elif status == EXIT_REQUEUE:
                self._end(slot, "stopped", ["stopped on request from outside; the same command goes on with it"])
            elif status != 0:
                self._end(slot, "failed", [_ending(status), *self._last_lines(slot)])
            elif self._asked:
                self._end(slot, "stopped")
            else:
                self._go_on(slot)

    def _last_lines(self, slot: _Slot) -> list[str]:
        assert slot.task is not None
        with open(slot.task.log, "rb") as file:
            file.seek(max(slot.log_start, file.seek(0, os.SEEK_END) - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-ERROR_LINES:]

    def _end(self, slot: _Slot, state: State, errors: Sequence[str] = ()) -> None:
        task = slot.task
        assert task is not None
        assert slot.log is not None
        slot.log.close()
        task.errors = list(errors)
        task.seconds = time.monotonic() - (task.began or time.monotonic())
        slot.task = slot.step = slot.log = None
        self._become(task, state)

    def _become(self, task: Task, state: State) -> None:
        if task.state != state:
            task.state = state
            self.changed(task)

    def _ask_to_stop(self) -> None:
        if not self._asked:
            self._asked = True
            for slot in self.slots:
                if slot.process is not None:
                    slot.process.send_signal(signal.SIGTERM)

    def _kill(self) -> None:
        """Only where the sweep itself is thrown out of its loop: nothing is left running behind it."""
        for slot in self.slots:
            if slot.process is not None:
                os.killpg(slot.process.pid, signal.SIGKILL)
                slot.process.wait()
                self._end(slot, "stopped")


def look_ahead(tasks: Sequence[Task], work: Work) -> None:
    """Mark the tasks that are done already."""
    for task in tasks:
        run = find_run(task.job, work.out)
        if run is None or not is_trained(run):
            continue
        found = results(run, work)
        if all(totals is not None for totals in found.values()):
            task.state, task.kept, task.run = "done", True, run.path
            task.totals = {key: totals for key, totals in found.items() if totals is not None}


def is_busy(path: Path) -> bool:
    """Whether another process trains in this run folder."""
    try:
        with open(path / "lock", "a+", encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


def places(jobs: int | None, device: str) -> list[dict[str, str]]:
    """The environment of each place where a job can run.

    With GPUs, one for each of them, unless `jobs` says otherwise (then they are shared out in turn); without, one.
    """
    gpus = _gpus() if device == "auto" else []
    count = jobs or max(1, len(gpus))
    if count == 1 or not gpus:  # a single job sees all of them
        return [{} for _ in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} for number in range(count)]


def default_threads(places: Sequence[dict[str, str]]) -> int | None:
    """CPU threads of a job where nobody said: several jobs without GPUs share the cores."""
    if len(places) == 1 or any(places):
        return None
    return max(1, (os.cpu_count() or 1) // len(places))


def _gpus() -> list[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def _ending(status: int) -> str:
    if status < 0:
        hint = "; out of memory?" if status == -signal.SIGKILL else ""
        return f"ended by {signal.Signals(-status).name}{hint}"
    return f"ended with status {status}"


def _die_with(parent: int) -> Callable[[], None] | None:
    """For a new process: be asked to stop when the sweep dies, even by SIGKILL (Linux)."""
    if _libc is None:
        return None
    libc, to_parents_death = _libc, 1  # PR_SET_PDEATHSIG

    def ask() -> None:
        libc.prctl(to_parents_death, signal.SIGTERM)
        if os.getppid() != parent:  # it died in the meantime
            os._exit(EXIT_REQUEUE)

    return ask
