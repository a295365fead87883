"""`aedo train` and `aedo average`, as typed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aedo.cli import build
from aedo.commands.train import choose_device
from aedo.errors import UserError
from aedo.train.signals import EXIT_REQUEUE
from tests.train.micro import write_data


def invoke(*arguments: str) -> str:
    """The UserError a command ends with."""
    result = CliRunner().invoke(build(), arguments)
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "no such kind of device; use cpu, cuda or auto"),
        ("mps", "only cpu and cuda are supported"),
        ("cuda:99", "--device cuda:99: t"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_device(name)


def test_a_wrong_name_or_missing_data_end_before_anything_is_made(tmp_path: Path) -> None:
    where = ("--data", str(tmp_path / "missing"), "--out", str(tmp_path / "out"))
    assert "tyny" in invoke("train", "tyny", *where)
    assert "missing" in invoke("train", "tiny", *where)
    assert not (tmp_path / "out").exists()


def test_average_wants_one_choice_and_a_run(tmp_path: Path) -> None:
    assert "not a run folder" in invoke("average", str(tmp_path), "--last", "2")
    (tmp_path / "experiment.json").write_text("{}")
    assert "exactly one of --last, --best, --fraction" in invoke("average", str(tmp_path))
    assert "exactly one of" in invoke("average", str(tmp_path), "--last", "2", "--best", "2")
    assert "--by goes with --best only" in invoke("average", str(tmp_path), "--last", "2", "--by", "dev_ler")


@pytest.mark.slow
def test_sigterm_to_the_whole_process_group_saves_and_asks_to_be_run_again(tmp_path: Path) -> None:
    """As a job scheduler does it: the loader's processes get the signal too."""
    data = write_data(tmp_path / "data", train=40)
    command = [
        sys.executable,
        "-m",
        "aedo",
        "train",
        "tiny",
        "--data",
        str(data),
        "--out",
        str(tmp_path),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(
        [*command, "--log-every", "1"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(path.stat().st_size for path in tmp_path.glob("*/steps.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_REQUEUE, output
    assert "run the same command again" in output
    assert list(tmp_path.glob("*/checkpoints/*/state.pt"))
