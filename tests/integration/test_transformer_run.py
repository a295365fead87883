"""A run with a Transformer decoder through the commands; and a run folder from before there were two decoders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from aedo.cli import build
from aedo.model.lstm_decoder import LstmDecoder
from aedo.model.transformer_decoder import TransformerDecoder, TransformerDecoderConfig
from aedo.nn.feedforward import FeedForwardConfig
from aedo.run import RunFolder
from aedo.train.start import train
from aedo.train.trainer import Settings
from tests.train.micro import NAME, micro_experiment, write_data

DECODER = TransformerDecoderConfig(
    layers=2,
    dim=16,
    heads=2,
    feed_forward=FeedForwardConfig(dim=24, activation="swiglu", bias=False),
    norm="rms",
    rotary=True,
    shared_embedding=True,
    auxiliary=(1,),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("transformer") / "data")


def test_training_recognition_and_report_of_a_transformer_decoder(data: Path) -> None:
    experiment = micro_experiment(epochs=1).with_("decoder", DECODER)
    run, finished = train(NAME, experiment, data, data.parent / "runs", torch.device("cpu"), Settings())
    assert finished
    assert {"ce", "ce_1", "ler", "ler_1"} <= set(run.epochs()[-1]["dev"])
    label = run.checkpoints()[-1].label
    assert isinstance(run.load_model(label).decoder, TransformerDecoder)
    for words in (
        ("recog", run.path, "--sets", "dev", "--checkpoint", "last", "--beam", "3"),
        ("report", run.path, "-o", data.parent / "page.html"),
    ):
        result = CliRunner().invoke(build(), [str(word) for word in words])
        assert result.exit_code == 0, (result.output, result.exception)
    page = (data.parent / "page.html").read_text()
    assert "decoder attention" in page
    assert "cross-entropy per label (decoder layer 1)" in page


def test_a_run_folder_that_names_no_kind_of_decoder_has_an_lstm(data: Path) -> None:
    run, _ = train(NAME, micro_experiment(epochs=1), data, data.parent / "old", torch.device("cpu"), Settings())
    file = run.path / "experiment.json"
    content = json.loads(file.read_text())
    assert content["experiment"]["decoder"].pop("kind") == "lstm"
    file.write_text(json.dumps(content))
    again = RunFolder.open(run.path)
    assert again.experiment() == micro_experiment(epochs=1)
    assert isinstance(again.load_model(again.checkpoints()[-1].label).decoder, LstmDecoder)
