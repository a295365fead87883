"""`aedo import` and `aedo export`, and what the other verbs do with an imported run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from aedo.cli import build
from aedo.errors import UserError
from aedo.run import RunFolder
from tests.interop.files import state_of, write_checkpoint
from tests.train.micro import WORDS, write_data


def run(*arguments: object) -> str:
    """What the command prints; its UserError is raised."""
    result = CliRunner().invoke(build(), [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared data, and the golden base imported with a vocabulary of that data's words."""
    place = tmp_path_factory.mktemp("import")
    write_data(place / "data")
    labels = ["</s>", "<unk>", *WORDS, *(f"w{number}@@" for number in range(40))][:40]
    (place / "vocab").write_text(repr({name: number for number, name in enumerate(labels)}))
    write_checkpoint(place / "model.pt")
    run("import", "returnn", place / "model.pt", "-o", place / "run", "--vocab", place / "vocab")
    return place


def test_import_says_what_it_took_for_granted(place: Path, tmp_path: Path) -> None:
    said = run("import", "returnn", place / "model.pt", "-o", tmp_path / "run", "--set", "decoder.zone_cell=0.1")
    assert "3 layers, lstm decoder, CTC heads on layers: 1, 2, 40 labels" in said
    assert 'frontend.padding = "batch"' in said
    assert "decoder.zone_cell = 0.1" in said
    assert "transcripts will be numbers of labels" in said


def test_an_imported_run_transcribes_and_recognises(place: Path) -> None:
    audio = next((place / "data").glob("dev-*.flac"))
    assert "next" not in run("transcribe", "--run", place / "run", audio)
    assert "WER %" in run("recog", place / "run", "--data", place / "data", "--sets", "dev", "--beam", 2)
    (totals,) = (place / "run" / "recog").glob("**/dev.json")
    assert json.loads(totals.read_text())["checkpoint"] == "epoch-0007"


def test_recog_asks_for_data_that_an_imported_run_does_not_name(place: Path) -> None:
    with pytest.raises(UserError, match="names no data folder; give --data"):
        run("recog", place / "run")


def test_export_writes_what_was_imported(place: Path, tmp_path: Path) -> None:
    said = run("export", "returnn", place / "run", "-o", tmp_path / "back.pt")
    assert "epoch 7, step 12345" in said
    assert "behavior_version 22 or lower" in said
    content = torch.load(tmp_path / "back.pt", weights_only=True)
    assert all(torch.equal(content["model"][name], value) for name, value in state_of("base").items())


@pytest.mark.slow
def test_an_imported_run_is_trained_further(place: Path) -> None:
    tree = json.loads((place / "run" / "experiment.json").read_text())
    tree["experiment"]["train"].update(epochs=1, learning_rate={"kind": "constant", "value": 1e-5}, average_fraction=0)
    tree["experiment"]["loader"]["workers"] = 0
    (place / "further.json").write_text(json.dumps({**tree, "name": "further"}))
    command = ["train", place / "further.json", "--data", place / "data", "--out", place / "out", "--device", "cpu"]
    said = run(*command, "--from", place / "run", "--threads", 1)
    further = RunFolder.open(next((place / "out").glob("further-*")))
    assert str(further.path) in said
    assert further.info["from"]["checkpoint"] == "epoch-0007"
    assert further.tokenizer().digest == RunFolder(place / "run").tokenizer().digest
    before, after = (folder.load_model("last").state_dict() for folder in (RunFolder(place / "run"), further))
    moved = max((after[name] - value).abs().max().item() for name, value in before.items() if "running" not in name)
    assert 0 < moved < 1e-2
    with pytest.raises(UserError, match="this training began from"):
        run(*command)
