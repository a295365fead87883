"""Worker processes: what becomes of them and of the training when something dies."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aedo.data.audio import AudioConfig
from aedo.data.manifest import Manifest
from aedo.data.reading import Job, Reader
from aedo.data.text import CharTokenizer
from aedo.data.workers import Workers
from aedo.errors import UserError
from tests.data.folders import write_corpus

SCRIPT = """
import sys, time
from pathlib import Path
from tests.data.test_workers import JOB, reader
from aedo.data.workers import Workers

if __name__ == "__main__":
    workers = Workers(reader(Path(sys.argv[1])), count=2, prefetch=2)
    run = workers.run([JOB] * 1000)
    next(run)
    print(*(worker.process.pid for worker in workers._workers), flush=True)
    if sys.argv[2] == "wait":
        time.sleep(600)
"""
ONE = np.ones(2, np.int64)
JOB = Job(np.arange(2), 16000 * ONE, np.array([8000, 8501]), 10 * ONE, 0 * ONE)


def reader(folder: Path) -> Reader:
    manifest = Manifest.open(folder, "train")
    return Reader(manifest, CharTokenizer("AB"), AudioConfig(), ctc=True, ctc_eos=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_corpus(tmp_path, ["AB", "BA"])
    return tmp_path


def environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}


def script(folder: Path, then: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(folder / "script.py"), str(folder), then],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def comes_true(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def pids(workers: Workers) -> list[int]:
    return [worker.process.pid or 0 for worker in workers._workers]


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_process_that_is_killed(folder: Path, end: signal.Signals) -> None:
    parent = script(folder, "wait")
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    assert all(map(alive, children))
    parent.send_signal(end)
    parent.wait()
    assert comes_true(lambda: not any(map(alive, children)))


@needs_proc
@pytest.mark.slow
def test_a_process_that_leaves_its_workers_busy_ends_at_once_and_silently(folder: Path) -> None:
    parent = script(folder, "leave")
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    begin = time.monotonic()
    _, errors = parent.communicate(timeout=20)
    assert time.monotonic() - begin < 4
    assert (parent.returncode, errors) == (0, "")
    assert comes_true(lambda: not any(map(alive, children)))


@needs_proc
def test_workers_end_when_closed_and_when_forgotten(folder: Path) -> None:
    closed, forgotten = (Workers(reader(folder), count=1, prefetch=1) for _ in range(2))
    for workers in (closed, forgotten):
        list(workers.run([JOB]))
    children = [*pids(closed), *pids(forgotten)]
    closed.close()
    del forgotten, workers
    gc.collect()
    assert comes_true(lambda: not any(map(alive, children)))


def test_signals_to_the_whole_group_leave_workers_at_work(folder: Path) -> None:
    workers = Workers(reader(folder), count=1, prefetch=1)
    run = workers.run([JOB] * 4)
    next(run)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pids(workers)[0], number)
    assert len(list(run)) == 3


def test_a_worker_that_dies_is_an_error_that_says_so(folder: Path) -> None:
    workers = Workers(reader(folder), count=2, prefetch=1)
    run = workers.run([JOB] * 100)
    next(run)
    os.kill(pids(workers)[1], signal.SIGKILL)
    with pytest.raises(UserError, match=r"data worker 1 ended unexpectedly \(exit code -9\): often for lack of memory"):
        list(run)
    with pytest.raises(UserError, match="data worker 1"):  # and stays one, instead of waiting for ever
        list(workers.run([JOB] * 100))


def test_a_fault_of_ours_in_a_worker_shows_its_traceback(folder: Path) -> None:
    workers = Workers(reader(folder), count=1, prefetch=1)
    beyond = JOB._replace(utterances=np.array([0, 7]))
    with pytest.raises(RuntimeError, match=r"(?s)in a data worker:.*IndexError: utterance 7 of 2"):
        list(workers.run([beyond]))
    assert len(list(workers.run([JOB]))) == 1  # the worker goes on


@pytest.mark.slow
def test_a_script_without_its_guard_is_told_so(folder: Path) -> None:
    (folder / "bare.py").write_text(
        "from pathlib import Path\nfrom tests.data.test_workers import JOB, reader\n"
        "from aedo.data.workers import Workers\n"
        f"print(list(Workers(reader(Path({str(folder)!r})), 1, 1).run([JOB])))\n"
    )
    result = subprocess.run(
        [sys.executable, str(folder / "bare.py")], capture_output=True, text=True, env=environment()
    )
    assert result.returncode == 1
    assert 'must start its work under if __name__ == "__main__":' in result.stderr
