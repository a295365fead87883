"""The run folder, as the other verbs see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder, read_jsonl
from aedo.train.checkpoint import write_checkpoint
from tests.train.micro import NAME, micro_experiment


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.create(NAME, micro_experiment(), {"vocabulary": 9})
    return RunFolder.open(run.path)


def add(run: RunFolder, label: str, epoch: int, **more: object) -> Checkpoint:
    checkpoint = Checkpoint(run.checkpoint_folder / label, label, epoch, epoch, epoch, **more)  # type: ignore[arg-type]
    torch.manual_seed(epoch)
    write_checkpoint(checkpoint, run.experiment().build_model(9), {} if label.startswith("step") else None)
    return checkpoint


def test_a_folder_that_is_no_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run folder \(no experiment.json\); give the folder that `aedo train`"):
        RunFolder.open(tmp_path)


def test_checkpoints_come_in_order_without_points_inside_epochs(run: RunFolder) -> None:
    for label, epoch in (("epoch-0010", 10), ("epoch-0002", 2), ("step-000000011", 10)):
        add(run, label, epoch)
    add(run, "average-last2", 10, averaged=["epoch-0002", "epoch-0010"])
    assert [made.label for made in run.checkpoints()] == ["epoch-0002", "epoch-0010", "average-last2"]
    assert run.checkpoint("last").label == "epoch-0010"


def test_best_is_the_lowest_dev_value(run: RunFolder) -> None:
    add(run, "epoch-0001", 1, scores={"dev_ce": 1.0, "dev_ler": 0.9})
    add(run, "epoch-0002", 2, scores={"dev_ce": 2.0, "dev_ler": 0.1})
    assert run.checkpoint("best").label == "epoch-0001"


def test_an_unknown_checkpoint_names_those_there_are(run: RunFolder) -> None:
    with pytest.raises(UserError, match="no checkpoint 'epoch-0009'; there are: none yet"):
        run.checkpoint("epoch-0009")
    add(run, "epoch-0001", 1)
    with pytest.raises(UserError, match="no checkpoint 'epoch-0009'; there are: epoch-0001"):
        run.load_model("epoch-0009")


def test_a_model_is_loaded_with_the_weights_of_its_checkpoint(run: RunFolder) -> None:
    add(run, "epoch-0001", 1)
    torch.manual_seed(1)
    expected = run.experiment().build_model(9).state_dict()
    model = run.load_model("epoch-0001")
    assert not model.training
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_wrong_and_broken_weights_are_told_apart(run: RunFolder) -> None:
    made = add(run, "epoch-0001", 1)
    write_checkpoint(made, run.experiment().build_model(12), None)
    with pytest.raises(UserError, match=r"not weights of this experiment: .* is \[13, 8\], not \[10, 8\]"):
        run.load_model("last")
    made.weights.write_bytes(b"short")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        run.load_model("last")
    made.weights.unlink()
    with pytest.raises(UserError, match=r"model.safetensors: missing; the checkpoint is incomplete"):
        run.load_model("last")


def test_broken_descriptions_are_named(run: RunFolder) -> None:
    made = add(run, "epoch-0001", 1)
    (made.folder / "checkpoint.json").write_text("{")
    with pytest.raises(UserError, match=r"checkpoint.json: not valid JSON"):
        run.checkpoints()
    (run.path / "experiment.json").write_text('{"name": "x", "experiment": {"no_such_part": 1}}')
    with pytest.raises(UserError, match=r"experiment.json: not an experiment of this version of aedo"):
        run.experiment()


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_jsonl(path) == []
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert read_jsonl(path) == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", ".hidden"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, run: RunFolder) -> None:
    path = run.path / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": name}))
    with pytest.raises(UserError, match="cannot be that of a folder"):
        run.experiment()
