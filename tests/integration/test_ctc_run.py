"""A CTC model with one head for all layers, smoothed and fed in ESPnet's way, through the commands."""

from __future__ import annotations

from pathlib import Path

import torch
from typer.testing import CliRunner

from aedo.cli import build
from aedo.train.start import train
from aedo.train.trainer import Settings
from tests.train.micro import NAME, micro_experiment, write_data


def test_training_recognition_and_report_of_a_ctc_model(tmp_path: Path) -> None:
    experiment = (
        micro_experiment(epochs=2, keep={"last": 1, "best": 1})
        .with_("decoder", None)
        .with_("ctc.shared", True)
        .with_("ctc.label_smoothing", 0.1)
        .with_("ctc.smooth_blank", False)
        .with_("loss.normalization", "accumulated")
        .with_("order.kind", "fixed")
        .with_("batch.count_labels", True)
        .with_("augment.speed.every", True)
    )
    data = write_data(tmp_path / "data")
    run, finished = train(NAME, experiment, data, tmp_path / "runs", torch.device("cpu"), Settings())
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
