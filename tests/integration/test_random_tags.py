"""Whatever tags are combined: an experiment trains, goes on after a kill as if nothing had happened, and recognises."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.data.manifest import Manifest
from aedo.experiment import Experiment
from aedo.recipes.names import resolve
from aedo.run import RunFolder
from aedo.score.decode import Decoding, SetOfCuts, decode_set
from aedo.train import start
from aedo.train.origin import Origin
from aedo.train.trainer import Settings, Trainer
from tests.integration.combinations import combination, micro
from tests.recipes.published import SWITCHBOARD
from tests.train.micro import write_data

FEW = 8
MANY = int(os.environ.get("AEDO_COMBINATIONS", "8"))
"""Seeds of the slow test; as many as there are tags try all tags."""


class KilledError(BaseException):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("random_tags") / "data")


def train(e: Experiment, data: Path, out: Path, origin: Origin | None = None, save_minutes: float = 0.0) -> RunFolder:
    settings = Settings(log_every=1, save_minutes=save_minutes)
    run, finished = start.train("micro", e, data, out, torch.device("cpu"), settings, workers=0, origin=origin)
    assert finished
    return run


def begun_elsewhere(e: Experiment, data: Path, out: Path) -> Origin | None:
    """A run whose weights a fine-tuning starts from."""
    if e.train.finetune is None:
        return None
    first = e.with_("train", {**e.train.model_dump(), "finetune": None})
    return Origin.parse(str(train(first, data, out).path))


def killed_at(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = Trainer._train_batch, [0]

    def counting(self: Trainer, *args: Any) -> None:
        seen[0] += 1
        if seen[0] == batch:
            raise KilledError
        original(self, *args)

    monkeypatch.setattr(Trainer, "_train_batch", counting)


def left(run: RunFolder) -> dict[str, Any]:
    """Weights of every checkpoint and the whole state of the last one."""
    checkpoints = sorted(run.checkpoint_folder.iterdir())
    (state,) = [
        torch.load(path / "state.pt", weights_only=True) for path in checkpoints if (path / "state.pt").exists()
    ]
    return {
        "weights": {path.name: (path / "model.safetensors").read_bytes() for path in checkpoints},
        "state": flat({key: value for key, value in state.items() if key not in ("counters", "random")}),
    }


def flat(value: Any) -> Any:
    """With tensors as lists, which can be compared."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: flat(child) for key, child in value.items()}
    return [flat(child) for child in value] if isinstance(value, (list, tuple)) else value


def check(name: str, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """`batch`: number of the one before which the training is killed, once each has been saved."""
    e = micro(resolve(name))
    origin = begun_elsewhere(e, data, folder / "origin")
    straight = train(e, data, folder / "straight", origin)
    with monkeypatch.context() as patch:
        killed_at(batch, patch)
        with pytest.raises(KilledError):
            train(e, data, folder / "killed", origin, save_minutes=1e-9)
    resumed = train(e, data, folder / "killed", origin, save_minutes=1e-9)
    assert left(resumed) == left(straight)
    cuts = SetOfCuts.read(Manifest.open(data, "dev"), "dev", data)
    for use_ctc in (False, True) if e.ctc.layers else (False,):
        found = decode_set(Decoding(straight, straight.checkpoint("last"), use_ctc=use_ctc), cuts)
        assert found.totals["utterances"] == 4


@pytest.mark.parametrize("seed", range(FEW))
def test_five_random_tags_train_resume_and_recognise(
    seed: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(combination(seed), data, tmp_path, monkeypatch, batch=2 + seed % 2)


def test_the_older_name_trains_resumes_and_recognises(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(SWITCHBOARD, data, tmp_path, monkeypatch, batch=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FEW, FEW + MANY))
def test_many_random_tags_train_resume_and_recognise(
    seed: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(combination(seed), data, tmp_path, monkeypatch, batch=2 + seed % 2)
