"""A training whose features are normalised by statistics of its data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aedo.errors import UserError
from aedo.features.normalize import GlobalNormConfig
from aedo.run import RunFolder
from aedo.train import start
from aedo.train.origin import Origin
from aedo.train.trainer import Settings
from tests.train.micro import NAME, micro_experiment, write_data

PLAIN = micro_experiment(epochs=1, average_fraction=0.0)
NORMED = PLAIN.with_("features.normalize", GlobalNormConfig(utterances=5))
STATISTICS = ("features.normalize.mean", "features.normalize.var")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("statistics") / "data")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(data, tmp_path_factory.mktemp("trained"))


def train(data: Path, out: Path, origin: Origin | None = None) -> RunFolder:
    run, finished = start.train(NAME, NORMED, data, out, torch.device("cpu"), Settings(), 0, origin)
    assert finished
    return run


def test_the_statistics_of_some_training_utterances_are_saved_with_the_weights(trained: RunFolder, data: Path) -> None:
    model = trained.load_model("last")
    mean, var = (model.state_dict()[name] for name in STATISTICS)
    # White noise of any utterance has nearly the same spectrum; so do the statistics.
    other = train(data, trained.path.parent / "again").load_model("last").state_dict()
    assert all(torch.equal(other[name], value) for name, value in zip(STATISTICS, (mean, var)))
    noise, samples = torch.rand(8, 16000) * 2 - 1, torch.full((8,), 16000)  # peak-normalised, as the loader's
    features = model.features(noise, samples).values
    assert features.mean((0, 1)).abs().max() < 0.3
    assert (features.var((0, 1)) - 1).abs().max() < 0.3
    assert model.features.log_mel(noise, samples).values.mean().abs() > 0.3


def test_a_training_from_it_keeps_its_statistics(
    trained: RunFolder, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    other = write_data(tmp_path / "louder", seed=7)
    before = trained.load_model("last").state_dict()
    after = train(other, tmp_path / "out", Origin.parse(str(trained.path))).load_model("last").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in STATISTICS)


def test_a_training_from_weights_without_statistics_is_refused(data: Path, tmp_path: Path) -> None:
    plain, _ = start.train(NAME, PLAIN, data, tmp_path / "plain", torch.device("cpu"), Settings())
    with pytest.raises(UserError, match=r"features\.normalize\.mean"):
        train(data, tmp_path / "out", Origin.parse(str(plain.path)))
