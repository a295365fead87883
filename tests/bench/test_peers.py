"""The scripts that measure us against others still know how to drive this code; the others themselves are not here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.train.micro import micro_experiment

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
FRAMES, VOCABULARY = 9, 11
pytestmark = pytest.mark.skipif(not PEERS.is_dir(), reason="the benchmarks are not beside the tests")


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PEERS))
    spec = importlib.util.spec_from_file_location(name, PEERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_part_of_ours_runs_and_can_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    experiment = micro_experiment(accumulate=1)
    model = experiment.build_model(VOCABULARY)
    torch.save(model.state_dict(), tmp_path / "aedo.pt")
    samples, labels = torch.tensor([16_000] * 4), torch.randint(1, VOCABULARY, (4, 3))
    batch = {"audio_lengths": samples, "labels": labels, "label_lengths": torch.tensor([3] * 4)}
    ragged = {f"ragged_{name}": value for name, value in batch.items()}
    states = {"audio": torch.randn(4, 16_000), "states": torch.randn(4, FRAMES, experiment.encoder.dim)}
    torch.save({**batch, **ragged, **states}, tmp_path / "inputs.pt")
    tree = experiment.model_dump(mode="json")
    job = {
        "experiment": tree, "undropped_experiment": tree, "sizes": {"vocabulary": VOCABULARY}, "beam": 3, "steps": 4,
        "no_eos": 100.0,
    }  # fmt: skip
    ours = module("aedo_speed", monkeypatch).Aedo(tmp_path, job)
    for part in ("encoder", "search1", "search4", "decoder", "step"):
        ours.part(part, precision)()
    assert {len(found) for found in ours.check("search", precision)["labels"]} == {3}, "cut off at the fourth label"
    assert set(ours.check("training", precision)["losses"]) == {"ce", "ctc_1", "ctc_2"}
    found = ours.check("encoder", precision)
    assert found["states"].shape[:2] == (4, int(found["lengths"].max()))
    sys.modules.pop("worker", None)


def test_gradients_are_compared_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    compare = module("compare", monkeypatch)
    one = {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}
    assert compare.distance(one, one) == 0.0
    assert compare.distance({**one, "a": torch.tensor([3.5])}, one) == pytest.approx(0.1)
    with pytest.raises(Exception, match="differ by name"):
        compare.distance({"a": one["a"]}, one)
