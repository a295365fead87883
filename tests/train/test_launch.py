"""`aedo train --devices 2` as typed: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aedo.run import RunFolder, read_jsonl
from aedo.train.launch import launch
from aedo.train.signals import EXIT_REQUEUE
from tests.train.micro import micro_experiment, write_data
from tests.train.test_kill import results

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the ranks in /proc")


class Training:
    """`aedo train` of the micro experiment in a process of its own, with what it needs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.data = write_data(folder / "data", train=14, dev=5)
        self.file = folder / "micro.json"
        tree = micro_experiment(average_fraction=0.5).model_dump(mode="json")
        self.file.write_text(json.dumps({"name": "micro", "experiment": tree}))

    def command(self, out: Path, *more: str) -> list[str]:
        start = [sys.executable, "-m", "aedo", "train", str(self.file), "--data", str(self.data), "--out", str(out)]
        return [*start, "--devices", "2", "--device", "cpu", "--log-every", "1", "--save-minutes", "1e-9", *more]

    def start(self, out: Path, *more: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = self.command(out, *more)
        return subprocess.Popen(
            command, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=environment
        )

    def run(self, out: Path, *more: str) -> str:
        process = self.start(out, *more)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output


def micro_steps_done(out: Path, process: subprocess.Popen[str], least: int) -> None:
    """Wait until the training has come so far."""
    deadline = time.monotonic() + 120
    while not any(read_jsonl(path)[-1:] and read_jsonl(path)[-1]["micro_step"] >= least for path in _steps(out)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _steps(out: Path) -> list[Path]:
    return list(out.glob("*/steps.jsonl"))


def rank_process(launcher: int, rank: int) -> int:
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"\0RANK={rank}\0".encode() in b"\0" + Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError(f"rank {rank} is not there")


@needs_proc
@pytest.mark.slow
def test_killed_stopped_and_resumed_it_ends_as_an_uninterrupted_one_and_recognises(tmp_path: Path) -> None:
    training = Training(tmp_path)
    output = training.run(tmp_path / "straight")
    assert output.count("finished: ") == 1, "one rank speaks"

    out = tmp_path / "out"
    process = training.start(out)
    micro_steps_done(out, process, 1)
    os.kill(rank_process(process.pid, 1), signal.SIGKILL)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGKILL
    assert "error: rank 1 of 2 on " in output
    assert "was ended by SIGKILL" in output

    process = training.start(out)
    micro_steps_done(out, process, 5)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_REQUEUE, output
    assert "stopped on request and saved" in output

    training.run(out)
    assert results(out) == results(tmp_path / "straight")
    (run,) = (path for path in out.iterdir() if path.is_dir())
    recog = [sys.executable, "-m", "aedo", "recog", str(run), "--sets", "dev", "--checkpoint", "last"]
    subprocess.run([*recog, "--device", "cpu"], check=True, capture_output=True)
    assert RunFolder(run).experiment().train.devices == 2
    assert list((run / "recog").glob("*/dev.jsonl"))


@pytest.mark.slow
def test_what_the_user_did_wrong_is_said_once_with_status_2(tmp_path: Path) -> None:
    training = Training(tmp_path)
    (tmp_path / "data" / "dev.jsonl").unlink()
    process = training.start(tmp_path / "out")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output.count("error: ") == 1
    assert "error: rank 0 of 2 on " in output
    assert "dev" in output


def fake_aedo(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the launcher start this code, which sees its number as `rank`, in the place of aedo."""
    package = folder / "aedo"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{code}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_the_exit_status_is_that_of_the_rank_that_failed_and_the_others_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_aedo(tmp_path, monkeypatch, "if rank == 2: sys.exit(7)\ntime.sleep(60)")
    began = time.monotonic()
    status, failure = launch(3, ["train"])
    assert (status, "rank 2 of 3 on" in failure, "status 7" in failure) == (7, True, True)
    assert time.monotonic() - began < 20


def test_a_rank_that_merely_lost_another_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_aedo(tmp_path, monkeypatch, "sys.exit(76) if rank == 0 else os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr("aedo.train.launch.LOOK_SECONDS", 3.0)
    status, failure = launch(2, ["train"])
    assert (status, "rank 1 of 2" in failure, "SIGKILL" in failure) == (137, True, True)


def test_all_well_is_0_and_a_stop_is_75(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_aedo(tmp_path, monkeypatch, "sys.exit(0 if sys.argv[1] == 'well' else 75)")
    assert launch(2, ["well"]) == (0, "")
    assert launch(2, ["stop"]) == (EXIT_REQUEUE, "")
