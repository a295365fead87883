"""The records of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aedo.run import RunFolder, read_jsonl
from aedo.train.log import RunLog
from aedo.train.position import Position


def epoch(number: int) -> dict[str, object]:
    return {"epoch": number, "micro_step": 10 * number, "lr": 0.1, "train": {"ce": 1.0}, "dev": {"ce": float(number)}}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    log = RunLog(RunFolder(tmp_path), Position())
    for number in (1, 2):
        log.step({"micro_step": 10 * number - 5, "update": number, "lr": 0.1, "epoch": number, "total": 2.0})
        log.epoch(epoch(number))
    log.event(15, "bad_utterance", id="x", reason="NaN samples")
    log.close()
    return RunFolder(tmp_path)


def test_lines_beyond_the_checkpoint_are_taken_back(run: RunFolder) -> None:
    RunLog(run, Position(epoch=2, batch=0, micro_step=10, first_micro_step=10)).close()
    assert [line["epoch"] for line in run.epochs()] == [1]
    assert [line["micro_step"] for line in read_jsonl(run.path / "steps.jsonl")] == [5]
    assert read_jsonl(run.path / "events.jsonl") == []


def test_lines_before_the_checkpoint_stay_and_a_half_line_goes(run: RunFolder) -> None:
    with open(run.path / "log.jsonl", "a") as file:
        file.write('{"epoch": 3, "micro_st')
    RunLog(run, Position(epoch=3, micro_step=20)).close()
    assert (run.path / "log.jsonl").read_text().count("\n") == 2
    assert [line["epoch"] for line in run.epochs()] == [1, 2]
    assert len(read_jsonl(run.path / "events.jsonl")) == 1


def test_tensorboard_holds_the_same_numbers(run: RunFolder) -> None:
    board = EventAccumulator(str(run.path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("dev/ce")] == [(9, 1.0), (19, 2.0)]
    assert [event.step for event in board.Scalars("step/total")] == [5, 15]
