from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aedo.data import manifest as module
from aedo.data.manifest import Manifest
from aedo.data.text import CharTokenizer
from aedo.errors import UserError
from tests.data.folders import cut_line, write_manifest

TEXTS = ["ÄB", "", "C D E"]


def lines(prefix: str = "u") -> list[dict[str, Any]]:
    return [cut_line(f"{prefix}{i}", Path(f"/{prefix}{i}.flac"), 1000 + i, text) for i, text in enumerate(TEXTS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_manifest(tmp_path, "dev", lines())
    return tmp_path


def test_any_utterance_is_read_on_its_own(folder: Path) -> None:
    m = Manifest.open(folder, "dev")
    assert len(m) == 3
    assert m.num_samples.tolist() == [1000, 1001, 1002]
    cut = m.cut(2)
    assert (cut.id, cut.num_samples, cut.supervisions[0].text) == ("u2", 1002, "C D E")
    assert cut.recording.sources[0].source == "/u2.flac"
    assert m.id(0) == "u0"
    assert list(m.texts()) == TEXTS


@pytest.mark.parametrize("outside", [-1, 3])
def test_there_is_nothing_outside(folder: Path, outside: int) -> None:
    with pytest.raises(IndexError, match="of 3"):
        Manifest.open(folder, "dev").cut(outside)


def test_lengths_are_those_of_lhotse(tmp_path: Path) -> None:
    samples = np.random.RandomState(0).randint(1, 600_000, 300)
    cuts = [cut_line(f"u{i}", Path("/a.flac"), int(n), "A") for i, n in enumerate(samples)]
    cuts.append({**cut_line("half", Path("/a.flac"), 16000, "A"), "start": 0.25, "duration": 0.33334375})
    write_manifest(tmp_path, "train", cuts)
    m = Manifest.open(tmp_path, "train")
    assert m.num_samples[:-1].tolist() == samples.tolist()
    assert m.num_samples.tolist() == [m.cut(i).num_samples for i in range(len(m))]


def test_lhotse_reads_the_same_file(folder: Path) -> None:
    from lhotse import CutSet

    assert [cut.id for cut in CutSet.from_jsonl(folder / "dev.jsonl")] == ["u0", "u1", "u2"]


def test_a_family_of_splits_is_read_as_one(tmp_path: Path) -> None:
    for name in ("train-b", "train-a", "trainer", "dev"):
        write_manifest(tmp_path, name, lines(name))
    m = Manifest.open(tmp_path, "train")
    assert [m.cut(i).id for i in range(len(m))] == [f"train-{x}{i}" for x in "ab" for i in range(3)]
    assert list(m.texts()) == TEXTS * 2
    assert m.num_samples.tolist() == [1000, 1001, 1002] * 2
    write_manifest(tmp_path, "train", lines("whole"))
    assert len(Manifest.open(tmp_path, "train")) == 3
    assert Manifest.open(tmp_path, "train-b").id(0) == "train-b0"


def test_label_lengths_do_not_count_eos_and_are_kept_by_tokenizer(folder: Path) -> None:
    m = Manifest.open(folder, "dev")
    first, second = CharTokenizer("ÄBCDE "), CharTokenizer("ABCDE ")
    assert m.label_lengths(first).tolist() == [2, 0, 5]
    assert {path.name for path in folder.glob("*.npz")} == {"dev.index.npz", f"dev.labels-{first.digest}.npz"}
    m.label_lengths(second)
    assert len(list(folder.glob("*.npz"))) == 3


def test_what_is_kept_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = CharTokenizer("ÄBCDE ")
    before = Manifest.open(folder, "dev")
    before.label_lengths(tokenizer)
    monkeypatch.setattr(module, "_index", None)
    monkeypatch.setattr(CharTokenizer, "encode", None)
    after = Manifest.open(folder, "dev")
    assert after.num_samples.tolist() == before.num_samples.tolist()
    assert after.label_lengths(tokenizer).tolist() == [2, 0, 5]


def test_a_changed_manifest_is_indexed_anew(folder: Path) -> None:
    tokenizer = CharTokenizer("ÄBCDE ")
    assert Manifest.open(folder, "dev").label_lengths(tokenizer).tolist() == [2, 0, 5]
    path = folder / "dev.jsonl"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    write_manifest(folder, "dev", [cut_line("v", Path("/v.flac"), 5, "BBB")])
    m = Manifest.open(folder, "dev")
    assert m.num_samples.tolist() == [5]
    assert m.label_lengths(tokenizer).tolist() == [3]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn", b"\x80\x05}."])
def test_a_damaged_index_is_made_again(folder: Path, damage: bytes) -> None:
    Manifest.open(folder, "dev")
    (folder / "dev.index.npz").write_bytes(damage)
    assert Manifest.open(folder, "dev").num_samples.tolist() == [1000, 1001, 1002]
    with np.load(folder / "dev.index.npz") as stored:
        assert stored["num_samples"].tolist() == [1000, 1001, 1002]


def test_an_unwritable_folder_is_fine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(np, "savez", refuse)
    m = Manifest.open(folder, "dev")
    assert m.label_lengths(CharTokenizer("B")).tolist() == [2, 0, 5]
    assert sorted(path.name for path in folder.iterdir()) == ["dev.jsonl"]


def test_it_travels_to_other_processes(folder: Path) -> None:
    m = Manifest.open(folder, "dev")
    m.cut(0)
    assert pickle.loads(pickle.dumps(m)).cut(1).id == "u1"


BROKEN = [
    ("{", "not valid JSON"),
    ("", "not valid JSON"),
    ("[1]", "not a cut"),
    (json.dumps({**lines()[0], "id": 5}), "id and source are texts"),
    (json.dumps({k: v for k, v in lines()[0].items() if k != "recording"}), "'recording' is missing"),
    (json.dumps({**lines()[0], "supervisions": []}), "utterance u0: not a cut (0 supervisions, expected 1)"),
    (json.dumps({**lines()[0], "duration": -1}), "duration -1"),
    (json.dumps({**lines()[0], "duration": float("nan")}), "duration nan"),
    (json.dumps({**lines()[0], "duration": float("inf")}), "not a cut"),
    (json.dumps({**lines()[0], "duration": "long"}), "not a cut"),
    (json.dumps(lines()[1]), "utterance u1: the name is taken by line 2"),
]


@pytest.mark.parametrize(("line", "says"), BROKEN)
def test_a_corrupt_line_is_named(folder: Path, line: str, says: str) -> None:
    path = folder / "dev.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError) as error:
        Manifest.open(folder, "dev")
    assert str(error.value).startswith(f"{path}:4: ")
    assert says in str(error.value)


def test_a_last_line_without_its_end_counts(folder: Path) -> None:
    path = folder / "dev.jsonl"
    path.write_text(path.read_text().rstrip("\n"))
    assert Manifest.open(folder, "dev").id(2) == "u2"


def test_a_manifest_changed_under_our_feet_is_noticed(folder: Path) -> None:
    m = Manifest.open(folder, "dev")
    (folder / "dev.jsonl").write_text("x" * 10)
    with pytest.raises(UserError, match=r"dev\.jsonl:1: not valid JSON"):
        m.cut(0)


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / "refused.jsonl").write_text("")
    for place, split, says in [
        (folder / "nowhere", "dev", "no such folder; give the folder that aedo prepare wrote"),
        (folder, "test", "no split 'test'; there are dev"),
        (tmp_path, "de", "no split 'de'; there are dev"),
    ]:
        with pytest.raises(UserError) as error:
            Manifest.open(place, split)
        assert str(error.value) == f"{place}: {says}"


def test_a_folder_without_data_and_a_split_without_utterances_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no prepared data here"):
        Manifest.open(tmp_path, "train")
    write_manifest(tmp_path, "train", [])
    with pytest.raises(UserError, match=r"train\.jsonl: holds no utterances"):
        Manifest.open(tmp_path, "train")
