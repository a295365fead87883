"""`aedo sweep`, as typed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aedo.cli import build
from aedo.errors import UserError
from aedo.train.signals import EXIT_REQUEUE
from tests.sweep.micro import write


def invoke(folder: Path, *words: str) -> tuple[int, str]:
    """Exit status and output."""
    typed = ["sweep", *words, "--data", str(folder / "data"), "--out", str(folder / "runs"), "--search", "ctc"]
    result = CliRunner().invoke(build(), typed)
    if isinstance(result.exception, UserError):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sweep"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tyny", "tiny-foo"], r"nothing was started:\n  tyny: (.|\n)*tiny-foo: unknown tag"),
        ([], "nothing to do: give names"),
        (["tiny", "--product"], "go with --base"),
        (["tiny", "--tags", "ls0"], "go with --base"),
        (["ls0", "--base", "tyny"], "tyny-ls0"),
        (["tiny", "--sets", "test"], "no split 'test'; there are dev, train"),
        (["tiny", "--seeds", "a"], "--seeds a"),
        (["tiny", "--from", "nowhere"], "nowhere: not a run folder"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(folder: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        invoke(folder, *words)
    assert not (folder / "runs").exists()


def test_a_dry_run_tells_what_would_be_done(folder: Path) -> None:
    status, output = invoke(folder, "ls0", "--base", "tiny", "--seeds", "1,2", "--dry-run")
    assert status == 0
    lines = output.splitlines()
    assert len(lines) == 4
    assert all(line.endswith("needs training") for line in lines)
    assert [("tiny-ls0-" in line) for line in lines] == [False, True, False, True]
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_a_sweep_trains_recognises_compares_and_then_finds_all_done(tmp_path: Path) -> None:
    folder = write(tmp_path / "sweep")
    names = [str(folder / f"{name}.json") for name in ("micro", "micro-bad", "micro-ls0")]
    status, output = invoke(folder, *names, "--seeds", "1,2", "--jobs", "2", "--threads", "1", "--workers", "0")
    assert status == 1
    assert output.count("not finite") >= 2  # the failure's own words
    made = folder / "runs" / "sweep"
    page = (made / "comparison.html").read_text()
    assert "2 jobs failed" in page
    assert "not finite" in page
    with open(made / "runs.csv") as file:
        lines = list(csv.DictReader(file))
    assert [(line["name"], line["seed"]) for line in lines] == [
        ("micro", "1"),
        ("micro", "2"),
        ("micro-ls0", "1"),
        ("micro-ls0", "2"),
    ]
    found = json.loads((made / "comparison.json").read_text())["experiments"]
    assert found[1]["changes"] == [{"path": "loss.label_smoothing", "before": "0.1", "after": "0"}]
    for experiment in found:
        rates = [float(line["wer"]) for line in lines if line["name"] == experiment["name"]]
        assert experiment["results"]["dev"]["wer"] == pytest.approx(sum(rates) / 2)
    assert (made / "comparison.png").read_bytes().startswith(b"\x89PNG")

    logs = {path: path.read_bytes() for path in (made / "logs").iterdir()}
    status, output = invoke(folder, names[0], names[2], "--seeds", "1,2", "--workers", "0")
    assert status == 0
    assert "training" not in output
    assert {path: path.read_bytes() for path in (made / "logs").iterdir()} == logs


def start(folder: Path, *names: str) -> subprocess.Popen[str]:
    words = [*(str(folder / f"{name}.json") for name in names), "--data", str(folder / "data")]
    words += ["--out", str(folder / "runs"), "--search", "ctc", "--workers", "0", "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", "aedo", "sweep", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_an_epoch(folder: Path, sweep: subprocess.Popen[str], lines: int = 1) -> Path:
    """The log of the running training."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert sweep.poll() is None
        for log in folder.glob("runs/*/log.jsonl"):
            if log.read_text().count("\n") >= lines:
                return log
        time.sleep(0.05)
    raise AssertionError("no training has begun")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the jobs of a killed sweep go on by themselves")
def test_a_killed_sweep_lets_its_jobs_save_and_a_stopped_one_goes_on(tmp_path: Path) -> None:
    folder = write(tmp_path / "sweep")
    sweep = start(folder, "micro-long")
    log = wait_for_an_epoch(folder, sweep)
    sweep.kill()
    sweep.wait()
    done = log.read_text().count("\n")
    sweep = start(folder, "micro-long")  # while the training of the first may still be saving
    wait_for_an_epoch(folder, sweep, done + 1)
    os.kill(sweep.pid, signal.SIGTERM)
    output, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == EXIT_REQUEUE, output
    assert "run the same command again" in output
    said = next((folder / "runs" / "sweep" / "logs").iterdir()).read_text()
    assert "going on from" in said
    assert said.count("stopped on request and saved") == 2
