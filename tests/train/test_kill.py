"""Killed at any moment and run again, a training ends with the very weights and logs of an uninterrupted one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.train.signals import EXIT_REQUEUE
from tests.train.micro import write_data

ROOT = Path(__file__).parents[2]
TIMES = ("seconds", "wait")


class Server:
    """Trains in processes of their own, one scenario after the other."""

    def __init__(self, data: Path) -> None:
        self.data = data
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.train.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
            text=True,
        )

    def train(self, out: Path, **scenario: Any) -> int:
        """Exit status; negative: killed by that signal."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        out.mkdir(exist_ok=True)
        print(json.dumps({"data": str(self.data), "out": str(out), **scenario}), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(write_data(tmp_path_factory.mktemp("killed") / "data"))
    server.train(tmp_path_factory.mktemp("indices"), train={"epochs": 1})  # writes what the data folder caches
    yield server
    server.close()


@pytest.fixture(scope="module")
def uninterrupted(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    assert server.train(out) == 0
    return out


def results(out: Path) -> dict[str, Any]:
    """Everything a training leaves that must not depend on interruptions."""
    (run,) = (path for path in out.iterdir() if path.is_dir())
    state = torch.load(run / "checkpoints" / "epoch-0003" / "state.pt", weights_only=True)
    return {
        "weights": {path.parent.name: path.read_bytes() for path in (run / "checkpoints").glob("*/model.safetensors")},
        "descriptions": sorted(path.read_text() for path in (run / "checkpoints").glob("*/checkpoint.json")),
        "states": sorted(path.parent.name for path in (run / "checkpoints").glob("*/state.pt")),
        "moments": [value.tolist() for entry in state["optimizer"]["state"].values() for value in entry.values()],
        "epochs": [{k: v for k, v in line.items() if k not in TIMES} for line in lines(run / "log.jsonl")],
        "steps": lines(run / "steps.jsonl"),
        "leftovers": sorted(path.name for path in run.rglob(".*")),
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def chosen_moments(names: list[str], most: int) -> list[int]:
    """Numbers of moments to be killed at: the first and the last of each kind, and others spread evenly."""
    first = {name: number for number, name in reversed(list(enumerate(names, start=1)))}
    last = {name: number for number, name in enumerate(names, start=1)}
    numbers = {*first.values(), *last.values()}
    spread = [1 + i * (len(names) - 1) // most for i in range(most)]
    return sorted(numbers | set(spread[: max(0, most - len(numbers))]))


def test_killed_at_any_moment_and_resumed_it_ends_the_same(server: Server, uninterrupted: Path, tmp_path: Path) -> None:
    expected = results(uninterrupted)
    assert len(expected["epochs"]) == 3
    assert set(expected["weights"]) == {"epoch-0002", "epoch-0003", "average-last50pct"}
    assert expected["states"] == ["epoch-0003"]
    names = json.loads((uninterrupted / "moments.json").read_text())
    for number in chosen_moments(names, 24):
        out = tmp_path / str(number)
        assert server.train(out, at=number) == -signal.SIGKILL, names[number - 1]
        assert server.train(out) == 0
        assert results(out) == expected, f"killed at moment {number}, {names[number - 1]}"
        shutil.rmtree(out)


def test_killed_between_the_updates_of_a_sub_epoch_it_goes_on_from_there(
    server: Server, uninterrupted: Path, tmp_path: Path
) -> None:
    expected = results(uninterrupted)
    for number in (30, 47, 68):
        out = tmp_path / str(number)
        assert server.train(out, at=number, save_minutes=1e-9) == -signal.SIGKILL
        assert server.train(out, save_minutes=1e-9) == 0
        assert results(out) == expected, f"killed at moment {number}"


def test_killed_with_parts_that_remember_or_need_the_data_it_ends_the_same(server: Server, tmp_path: Path) -> None:
    """A buffer of earlier batches; statistics of the features, found before the first checkpoint."""
    fields = {
        "augment.mixup": {"buffer_frames": 300},
        "augment.frame_drop": {"rate": 0.1},
        "augment.time_warp": {"kind": "centre"},
        "features.normalize": {"kind": "global", "utterances": 5},
    }
    assert server.train(tmp_path / "uninterrupted", fields=fields) == 0
    expected = results(tmp_path / "uninterrupted")
    names = json.loads((tmp_path / "uninterrupted" / "moments.json").read_text())
    for number in (1 + names.index("micro_step"), 47):
        out = tmp_path / str(number)
        assert server.train(out, at=number, save_minutes=1e-9, fields=fields) == -signal.SIGKILL
        assert server.train(out, save_minutes=1e-9, fields=fields) == 0
        assert results(out) == expected, f"killed at moment {number}"


def test_killed_with_loader_processes_it_ends_the_same(server: Server, uninterrupted: Path, tmp_path: Path) -> None:
    assert server.train(tmp_path, at=20, workers=2) == -signal.SIGKILL
    assert server.train(tmp_path, workers=1) == 0
    assert results(tmp_path) == results(uninterrupted)


@pytest.mark.parametrize("moment", ["micro_step", "evaluate"])
def test_sigterm_saves_at_once_and_asks_to_be_run_again(
    server: Server, uninterrupted: Path, tmp_path: Path, moment: str
) -> None:
    """Between two updates, so that gathered gradients must be saved; and amid an evaluation."""
    names = json.loads((uninterrupted / "moments.json").read_text())
    number = 1 + names.index(moment)
    assert server.train(tmp_path, at=number, act="terminate") == EXIT_REQUEUE
    (run,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (saved,) = (run / "checkpoints").iterdir()
    done = names[:number].count("micro_step")
    assert saved.name == f"step-{done:09d}"
    assert server.train(tmp_path) == 0
    assert results(tmp_path) == results(uninterrupted)
