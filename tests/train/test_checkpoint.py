"""Checkpoints on disk."""

from __future__ import annotations

import errno
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder
from aedo.train.checkpoint import (
    epoch_label,
    random_states,
    read_state,
    restore_random_states,
    step_label,
    tidy,
    write_checkpoint,
)
from aedo.train.config import KeepConfig


def checkpoint(run: RunFolder, epoch: int, *, step: int | None = None, ce: float = 1.0) -> Checkpoint:
    label = epoch_label(epoch) if step is None else step_label(step)
    scores = {"dev_ce": ce} if step is None else {}
    return Checkpoint(run.checkpoint_folder / label, label, epoch, 10 * epoch if step is None else step, epoch, scores)


def write(run: RunFolder, epoch: int, **where: Any) -> Checkpoint:
    made = checkpoint(run, epoch, **where)
    write_checkpoint(made, torch.nn.Linear(2, 2), {"some": torch.ones(3)})
    return made


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_what_is_written_is_read(run: RunFolder) -> None:
    made = write(run, 3)
    assert Checkpoint.read(made.folder) == made
    assert run.checkpoints() == [made]
    assert run.resumable() == made
    assert torch.equal(read_state(made)["some"], torch.ones(3))
    assert sorted(path.name for path in made.folder.iterdir()) == ["checkpoint.json", "model.safetensors", "state.pt"]


def test_random_states_of_all_generators_return() -> None:
    states = random_states()
    drawn = [random.random(), np.random.rand(), torch.rand(1).item()]
    restore_random_states(states)
    assert [random.random(), np.random.rand(), torch.rand(1).item()] == drawn


def test_no_code_in_a_state_is_run(run: RunFolder) -> None:
    made = write(run, 1)
    made.state.write_bytes(pickle.dumps({"format": os.getcwd}, protocol=2))
    with pytest.raises(UserError, match="not a readable training state"):
        read_state(made)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (errno.ENOSPC, "No space left on device; free some space, then run the same command: it goes on from the one"),
        (errno.EDQUOT, "free some of your quota"),
        (errno.EROFS, "choose a folder on a writable disk"),
    ],
)
@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_a_disk_that_refuses_is_a_clear_error_and_the_checkpoint_before_is_intact(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, problem: int, message: str, moment: int
) -> None:
    before, calls = write(run, 1), 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == moment:
            raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=message):
        write(run, 2)
    monkeypatch.undo()
    assert run.resumable() == before
    assert [path.name for path in run.checkpoint_folder.iterdir()] == [before.label], "nothing is left behind"


def test_a_disk_full_in_the_middle_of_the_state_is_a_clear_error(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive torch.save closes meanwhile fails too, and must not hide the reason."""

    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    original = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: original(state, Full()))
    with pytest.raises(UserError, match="No space left on device"):
        write(run, 1)


def test_only_the_newest_keeps_its_state_and_points_inside_epochs_go(run: RunFolder) -> None:
    for epoch in (1, 2):
        write(run, epoch)
    write(run, 2, step=25)
    tidy(run, 100, KeepConfig(last=2, best=0))
    assert [made.label for made in run.checkpoints() if made.state.exists()] == []
    newest = run.resumable()
    assert newest is not None
    assert newest.label == "step-000000025"
    write(run, 3)
    tidy(run, 100, KeepConfig(last=2, best=0))
    assert sorted(path.parent.name for path in run.path.rglob("state.pt")) == ["epoch-0003"]
    assert [made.label for made in run.checkpoints()] == ["epoch-0002", "epoch-0003"]


def test_the_best_stay_and_averages_are_left_alone(run: RunFolder) -> None:
    average = Checkpoint(run.checkpoint_folder / "average-last2", "average-last2", 2, 20, 2, averaged=["epoch-0001"])
    write_checkpoint(average, torch.nn.Linear(2, 2), None)
    for epoch, ce in enumerate((3.0, 1.0, 2.0, 4.0), start=1):
        write(run, epoch, ce=ce)
        tidy(run, 100, KeepConfig(last=1, best=1))
    assert [made.label for made in run.checkpoints()] == ["epoch-0002", "epoch-0004", "average-last2"]
    assert run.checkpoint("best").label == "epoch-0002"
    assert run.checkpoint("last").label == "epoch-0004"
