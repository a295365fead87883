"""Packed data are the data: the same utterances, samples, batches and training, bit for bit."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from aedo.cli import build
from aedo.data.audio import AudioConfig, AudioProblem, decode, samples_of
from aedo.data.loader import Loader
from aedo.data.manifest import Manifest, ManifestFile
from aedo.data.pack import pack
from aedo.data.packed import file_of
from aedo.data.text import train_tokenizer
from aedo.errors import UserError
from aedo.schedule import START
from aedo.train.start import Data, train
from aedo.train.trainer import Settings
from tests.train.micro import micro_experiment, write_data

CPU = torch.device("cpu")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Prepared data and the same packed, three utterances a tar file."""
    data = write_data(tmp_path / "data")
    assert pack(data, tmp_path / "packed", shard=3) == {"train": 9, "dev": 4}
    return data, tmp_path / "packed"


def test_every_utterance_has_the_same_samples_and_text(folders: tuple[Path, Path]) -> None:
    plain, packed = (Manifest.open(folder, "train") for folder in folders)
    assert np.array_equal(plain.num_samples, packed.num_samples)
    assert list(plain.texts()) == list(packed.texts())
    for i in reversed(range(len(plain))):
        one, other = plain.cut(i), packed.cut(i)
        assert (one.id, one.supervisions) == (other.id, other.supervisions)
        assert np.array_equal(samples_of(one, AudioConfig()), samples_of(other, AudioConfig()))


def test_lhotse_reads_what_was_packed(folders: tuple[Path, Path]) -> None:
    lhotse = pytest.importorskip("lhotse")
    plain = Manifest.open(folders[0], "train")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cuts = list(lhotse.CutSet.from_shar(in_dir=str(folders[1] / "train")))
    assert len(cuts) == 9
    for i, cut in enumerate(cuts):
        assert cut.id == plain.id(i)
        expected = samples_of(plain.cut(i), AudioConfig(peak_normalize=False))
        assert np.array_equal(cut.load_audio()[0], expected)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_loader_gives_the_same_batches(folders: tuple[Path, Path], tmp_path: Path, workers: int) -> None:
    experiment = micro_experiment().with_("loader.workers", workers)
    texts = Manifest.open(folders[0], "train").texts()
    (tmp_path / "tokenizer").mkdir()
    tokenizer = train_tokenizer(experiment.tokenizer, texts, tmp_path / "tokenizer")
    batches = []
    for folder in folders:
        manifest = Manifest.open(folder, "train")
        frames = experiment.build_model(tokenizer.size).encoder_frames
        loader = Loader(manifest, tokenizer, experiment.reading(), seed=1, frames=frames, training=True)
        batches.append([loaded.batch for loaded in loader.batches(1, START)])
        loader.close()
    for one, other in zip(*batches, strict=True):
        assert one is not None
        assert other is not None
        assert one.ids == other.ids
        assert torch.equal(one.audio, other.audio)
        assert torch.equal(one.labels, other.labels)


def test_a_training_on_packed_data_ends_with_the_same_weights(folders: tuple[Path, Path], tmp_path: Path) -> None:
    experiment = micro_experiment(epochs=1)
    weights = []
    for folder in folders:
        run, done = train("micro", experiment, folder, tmp_path / f"runs-{folder.name}", CPU, Settings())
        assert done
        weights.append(run.load_model("last").state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_packed_data_may_take_the_place_of_the_folder_in_a_run(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    plain, packed = (Data.open(folder) for folder in folders)
    tokenizer = train_tokenizer(micro_experiment().tokenizer, plain.train.texts(), tmp_path / "tokenizer")
    assert plain.digest(tokenizer) == packed.digest(tokenizer)


def test_the_folder_may_move(folders: tuple[Path, Path], tmp_path: Path) -> None:
    expected = samples_of(Manifest.open(folders[1], "dev").cut(0), AudioConfig())
    moved = folders[1].rename(tmp_path / "elsewhere")
    cut = Manifest.open(moved, "dev").cut(0)
    assert np.array_equal(samples_of(cut, AudioConfig()), expected)
    assert file_of(cut.recording.sources[0].source) == str(moved / "dev" / "recording.000000.tar")


def test_the_same_data_give_the_same_bytes_and_packed_data_can_be_packed_anew(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pack(folders[0], tmp_path / "again", shard=3)
    for path in sorted(folders[1].rglob("*.*")):
        if path.is_file() and path.suffix != ".npz":
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folders[1])).read_bytes(), path
    pack(folders[1], tmp_path / "larger", shard=100)
    cuts = [Manifest.open(folder, "train").cut(5) for folder in (folders[0], tmp_path / "larger")]
    assert np.array_equal(*(samples_of(cut, AudioConfig()) for cut in cuts))


def test_damaged_archives_are_named(folders: tuple[Path, Path]) -> None:
    manifest, tar = Manifest.open(folders[1], "train"), folders[1] / "train" / "recording.000002.tar"
    last = manifest.cut(8)
    tar.write_bytes(tar.read_bytes()[:2000])
    with pytest.raises(AudioProblem, match="ends before this utterance does"):
        samples_of(last, AudioConfig())
    tar.unlink()
    with pytest.raises(AudioProblem, match="audio file is missing"):
        samples_of(last, AudioConfig())


def test_a_file_whose_name_only_looks_packed_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(AudioProblem, match="audio file is missing"):
        decode(tmp_path / "a.tar#b+c")


def test_parts_of_recordings_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = folders[0] / "dev.jsonl"
    first, *others = [json.loads(line) for line in path.read_text().splitlines()]
    first["start"], first["duration"] = 0.1, first["duration"] - 0.2
    path.write_text("".join(json.dumps(line) + "\n" for line in (first, *others)))
    with pytest.raises(UserError, match="utterance dev-000: only a part of"):
        pack(folders[0], tmp_path / "out")
    assert not (tmp_path / "out").exists(), "all or nothing"


def test_refusals_say_what_to_do(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        pack(folders[0], folders[1])
    with pytest.raises(UserError, match="run aedo prepare first"):
        pack(tmp_path / "nowhere", tmp_path / "out")
    source = ManifestFile.open(folders[0] / "train.jsonl").line(3)["recording"]["sources"][0]["source"]
    Path(source).unlink()
    with pytest.raises(UserError, match=r"utterance train-003: .*No such file"):
        pack(folders[0], tmp_path / "out")


def test_the_command_tells_what_it_packed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(build(), ["pack", str(folders[0]), "-o", str(tmp_path / "out"), "--shard", "4"])
    assert result.exit_code == 0, result.output
    assert "train: 9 utterances" in result.output
    assert len(list((tmp_path / "out" / "train").glob("recording.*.tar"))) == 3
