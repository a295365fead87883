"""Weights from another run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.run import Checkpoint, RunFolder
from aedo.train import start
from aedo.train.checkpoint import write_checkpoint
from aedo.train.origin import Origin
from aedo.train.trainer import Settings
from tests.train.micro import micro_experiment, write_data

ONE = micro_experiment(epochs=1, average_fraction=0.0)
VOCABULARY = 9


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    """A run folder with the checkpoints epoch-0001 and epoch-0002."""
    run = RunFolder(tmp_path / "origin")
    run.path.mkdir()
    run.create("micro", ONE, {"vocabulary": VOCABULARY})
    for epoch in (1, 2):
        torch.manual_seed(epoch)
        label = f"epoch-000{epoch}"
        write_checkpoint(
            Checkpoint(run.checkpoint_folder / label, label, epoch, 5, 2), ONE.build_model(VOCABULARY), None
        )
    return Origin.parse(str(run.path))


def test_the_last_checkpoint_counts_unless_another_is_named(origin: Origin) -> None:
    assert origin.checkpoint.label == "epoch-0002"
    assert Origin.parse(f"{origin.run.path}@epoch-0001").checkpoint.label == "epoch-0001"
    with pytest.raises(UserError, match="no checkpoint 'epoch-0009'"):
        Origin.parse(f"{origin.run.path}@epoch-0009")
    with pytest.raises(UserError, match="not a run folder"):
        Origin.parse("nowhere")


def test_all_weights_are_taken(origin: Origin) -> None:
    model = ONE.build_model(VOCABULARY)
    assert len(origin.load_into(model)) == 1
    expected = origin.run.load_model("epoch-0002").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_ctc_heads_may_come_and_go_and_it_is_said(origin: Origin) -> None:
    other = ONE.with_("encoder.layers", 2).with_("ctc.layers", (2,))
    said = origin.load_into(other.build_model(VOCABULARY))
    assert said[1] == "left behind: ctc_heads.1.bias, ctc_heads.1.weight"
    fewer = Origin(origin.run, origin.checkpoint)
    write_checkpoint(fewer.checkpoint, other.build_model(VOCABULARY), None)
    assert fewer.load_into(ONE.build_model(VOCABULARY))[1] == "start fresh: ctc_heads.1.weight, ctc_heads.1.bias"


@pytest.mark.parametrize(
    "other", [ONE.with_("encoder.dim", 16), ONE.with_("decoder", None), ONE.with_("encoder.layers", 3)]
)
def test_other_differences_are_refused(other: Experiment, origin: Origin) -> None:
    with pytest.raises(UserError, match="not weights of this experiment"):
        origin.load_into(other.build_model(VOCABULARY))


def test_departures_of_the_model_are_said(origin: Origin) -> None:
    assert origin.departures(ONE.with_("train.seed", 3)) == []
    assert origin.departures(ONE.with_("frontend.padding", "batch")) == [
        "frontend.padding: consistent in the origin, batch here"
    ]


@pytest.mark.slow
def test_a_training_from_another_begins_at_its_weights_with_its_tokenizer(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")

    def train(experiment: Experiment, name: str, source: Origin | None) -> RunFolder:
        place = tmp_path / name
        device, settings = torch.device("cpu"), Settings(log_every=1)
        return start.train("micro", experiment, data, place, device, settings, origin=source)[0]

    first = train(ONE, "first", None)
    still = ONE.with_("train.learning_rate.value", 0.0).with_("tokenizer.size", 20)
    second = train(still, "second", Origin.parse(str(first.path)))
    assert second.experiment().tokenizer == ONE.tokenizer
    assert second.tokenizer().digest == first.tokenizer().digest
    assert second.checkpoint("last").epoch == 1
    one, other = first.load_model("last").state_dict(), second.load_model("last").state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items() if "running" not in name)
    again = train(still, "second", Origin.parse(str(first.path)))
    assert again.path == second.path
    with pytest.raises(UserError, match="this training began from"):
        train(still.with_("tokenizer", ONE.tokenizer), "second", None)
