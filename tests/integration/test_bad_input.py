"""What a user sees when something is wrong: the file, the utterance or field, and the mend; never a traceback."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from aedo import cli
from aedo.train.start import train
from aedo.train.trainer import Settings
from tests.data.sounds import cut_short, noise, write
from tests.train.micro import NAME, micro_experiment, write_data


class World(NamedTuple):
    data: Path
    run: Path
    folder: Path


@pytest.fixture(scope="module")
def prototype(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    data = write_data(folder / "data")
    run, finished = train(NAME, micro_experiment(epochs=1), data, folder / "runs", torch.device("cpu"), Settings())
    assert finished
    return World(data, run.path, folder)


@pytest.fixture
def world(prototype: World, tmp_path: Path) -> World:
    """A copy to spoil."""
    shutil.copytree(prototype.data, tmp_path / "data")
    shutil.copytree(prototype.run, tmp_path / "run")
    return World(tmp_path / "data", tmp_path / "run", tmp_path)


def aedo(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command line."""
    monkeypatch.setattr(sys, "argv", ["aedo", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return int(ended.value.code or 0), out, err


def corrupt_line(world: World) -> list[object]:
    lines = (world.data / "train.jsonl").read_text().splitlines()
    (world.data / "train.jsonl").write_text("\n".join([lines[0], lines[1][:40], *lines[2:]]) + "\n")
    return ["train", "tiny", "--data", world.data, "--out", world.folder / "out"]


def no_train_split(world: World) -> list[object]:
    (world.data / "train.jsonl").unlink()
    return ["train", "tiny", "--data", world.data, "--out", world.folder / "out"]


def cut_weights(world: World) -> list[object]:
    cut_short(world.run / "checkpoints" / "epoch-0001" / "model.safetensors")
    return ["recog", world.run, "--checkpoint", "epoch-0001", "--data", world.data]


def foreign_weights(world: World) -> list[object]:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, world.run / "checkpoints" / "epoch-0001" / "model.safetensors")
    return ["recog", world.run, "--checkpoint", "epoch-0001", "--data", world.data]


def edited_experiment(world: World) -> list[object]:
    path = world.run / "experiment.json"
    tree = json.loads(path.read_text())
    tree["experiment"]["encoder"]["layer"] = 3
    path.write_text(json.dumps(tree))
    return ["recog", world.run, "--data", world.data]


CASES: dict[str, tuple[Callable[[World], list[object]], list[str]]] = {
    "unknown base": (
        lambda w: ["train", "24gb-v7", "--data", w.data, "--out", w.folder], ["24gb-v7", "24gb-v6"]
    ),
    "unknown tag": (
        lambda w: ["train", "24gb-v6-posdrp02", "--data", w.data, "--out", w.folder], ["posdrp02", "posdrop"]
    ),
    "no data folder": (lambda w: ["train", "tiny", "--data", w.folder / "nowhere", "--out", w.folder], ["nowhere"]),
    "no training split": (no_train_split, ["train", "dev"]),
    "corrupt manifest line": (corrupt_line, ["train.jsonl:2:"]),
    "unknown split": (lambda w: ["recog", w.run, "--sets", "tset", "--data", w.data], ["tset", "dev"]),
    "unknown checkpoint": (
        lambda w: ["recog", w.run, "--checkpoint", "epoch-0099", "--data", w.data], ["epoch-0099", "epoch-0001"]
    ),
    "truncated weights": (cut_weights, ["model.safetensors"]),
    "weights of something else": (foreign_weights, ["model.safetensors"]),
    "edited experiment": (edited_experiment, ["experiment.json", "layer"]),
    "not a run folder": (lambda w: ["report", w.data], ["data", "run folder"]),
    "missing recordings": (lambda w: ["prepare", "folder", w.folder / "nowhere", "-o", w.folder / "o"], ["nowhere"]),
    "missing hypotheses": (lambda w: ["score", w.folder / "none.jsonl"], ["none.jsonl"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_command_names_what_is_wrong_and_the_mend(
    case: str, world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, words = CASES[case]
    status, _, err = aedo(capfd, monkeypatch, *spoil(world))
    assert status == 2
    assert err.count("error:") == 1
    for word in words:
        assert word in err


AUDIO: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p.with_suffix(".flac"), "missing"),
    "truncated": (lambda p: cut_short(write(p.with_suffix(".flac"), noise(30000))), "truncated"),
    "not audio": (lambda p: _text(p.with_suffix(".wav")), "unreadable"),
    "NaN samples": (lambda p: write(p.with_suffix(".wav"), np.full(9000, np.nan, np.float32), subtype="FLOAT"), "NaN"),
    "no samples": (lambda p: write(p.with_suffix(".wav"), noise(0)), "0 samples"),
}


def _text(path: Path) -> Path:
    path.write_text("this is no sound\n")
    return path


@pytest.mark.parametrize("case", AUDIO)
def test_transcribe_says_what_is_wrong_with_a_file_and_goes_on_with_the_others(
    case: str, world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, reason = AUDIO[case]
    bad, good = make(world.folder / "bad"), write(world.folder / "good.wav", noise(16000), rate=8000)
    status, out, err = aedo(capfd, monkeypatch, "transcribe", bad, good, "--run", world.run, "--json")
    assert status == 2
    assert str(bad) in err
    assert reason in err
    assert [Path(json.loads(line)["file"]).name for line in out.splitlines() if "good" in line] == ["good.wav"]


def test_prepare_refuses_every_unusable_utterance_with_its_reason(
    world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = world.folder / "recordings"
    usable = ["fine", "good", "right"]
    for number, name in enumerate(usable):
        write(folder / f"{name}.wav", noise(8000, seed=number))
    write(folder / "slow.wav", noise(8000), rate=8000)
    write(folder / "stereo.wav", noise(8000, channels=2))
    write(folder / "nan.wav", np.full(9000, np.nan, np.float32), subtype="FLOAT")
    write(folder / "nothing.wav", noise(0))
    cut_short(write(folder / "short.flac", noise(30000)))
    write(folder / "wordless.wav", noise(8000, seed=9))
    for sound in list(folder.iterdir()):
        sound.with_suffix(".txt").write_text("" if sound.stem == "wordless" else "SOME WORDS\n")
    out = world.folder / "prepared"
    status, _, _ = aedo(capfd, monkeypatch, "prepare", "folder", folder, "-o", out, "--max-refused", "0.9")
    assert status == 0
    lines = [json.loads(line) for line in (out / "refused.jsonl").read_text().splitlines()]
    reasons = {Path(line["file"]).stem: line["reason"] for line in lines}
    expected = {"slow": "8000 Hz", "stereo": "2 channels", "nan": "NaN", "nothing": "0 samples", "short": "truncated"}
    for name, reason in {**expected, "wordless": "text"}.items():
        assert reason in reasons[name], (name, reasons[name])
    assert len(lines) == 6
    assert sum(1 for _ in (out / "train.jsonl").open()) == len(usable)
