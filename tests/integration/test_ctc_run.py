"""A CTC model with one head for all layers, smoothed and fed in ESPnet's way, through the commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from aedo.cli import build
from aedo.schedule import Progress
from aedo.train.start import train
from aedo.train.step import Step, Update
from aedo.train.trainer import Settings
from tests.train.micro import NAME, micro_experiment, write_data

EXPERIMENT = (
    micro_experiment(epochs=2, keep={"last": 1, "best": 1})
    .with_("decoder", None)
    .with_("ctc.shared", True)
    .with_("ctc.label_smoothing", 0.1)
    .with_("ctc.smooth_blank", False)
    .with_("loss.normalization", "accumulated")
    .with_("order.kind", "fixed")
    .with_("order.partition", 2)
    .with_("batch.count_labels", True)
    .with_("augment.speed.every", True)
)
CPU = torch.device("cpu")


def test_training_recognition_and_report_of_a_ctc_model(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    run, finished = train(NAME, EXPERIMENT, data, tmp_path / "runs", CPU, Settings())
    assert finished
    for line in run.epochs():
        assert set(line["dev"]) == set(line["devtrain"]) == {"ctc_1", "ctc_2", "ler"}
        assert set(line["train"]) == {"ctc_1", "ctc_2"}
    for words in (
        ("recog", run.path, "--sets", "dev", "--checkpoint", "last"),
        ("report", run.path, "-o", tmp_path / "page.html"),
    ):
        result = CliRunner().invoke(build(), [str(word) for word in words])
        assert result.exit_code == 0, (result.output, result.exception)
    assert "label error rate" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("kind", ["fixed", "bucket"])
def test_broken_off_between_two_updates_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    experiment, data = EXPERIMENT.with_("order.kind", kind), write_data(tmp_path / "data")
    straight, _ = train(NAME, experiment, data, tmp_path / "straight", CPU, Settings())
    update, done = Step.update, [0]

    def breaks_down(step: Step, progress: Progress) -> Update:
        done[0] += 1
        if done[0] == 4:
            raise RuntimeError("power failure")
        return update(step, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "update", breaks_down)
        with pytest.raises(RuntimeError, match="power failure"):
            train(NAME, experiment, data, tmp_path / "broken", CPU, Settings(save_minutes=1e-9))
    resumed, finished = train(NAME, experiment, data, tmp_path / "broken", CPU, Settings())
    assert finished
    expected, found = (run.load_model("last").state_dict() for run in (straight, resumed))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
