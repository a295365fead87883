from __future__ import annotations

from pathlib import Path

import pytest

from aedo.data.corpora.folder import list_folder
from aedo.errors import UserError


def add(folder: Path, name: str, text: str | None = "HI") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if text is not None:
        path.with_suffix(".txt").write_text(text)


def test_folders_name_split_and_speaker(tmp_path: Path) -> None:
    for name in ("a.wav", "anna/b.MP3", "dev/carl/c.flac", "test-far/d.opus"):
        add(tmp_path, name)
    assert [(i.id, i.split, i.speaker) for i in list_folder(tmp_path).items] == [
        ("a", "train", "unknown"),
        ("anna-b", "train", "anna"),
        ("dev-carl-c", "dev", "carl"),
        ("test-far-d", "test-far", "unknown"),
    ]


def test_files_without_a_partner_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "a.wav")
    add(tmp_path, "b.wav", None)
    (tmp_path / "c.txt").write_text("ALONE")
    add(tmp_path, "d.wav")
    (tmp_path / "d.txt").write_bytes(b"\xff")
    listing = list_folder(tmp_path)
    assert [i.id for i in listing.items] == ["a"]
    assert [(r.id, r.kind) for r in listing.refused] == [
        ("b", "text file is missing"),
        ("d", "text file is unreadable"),
        ("c", "text without an audio file"),
    ]


@pytest.mark.parametrize(("name", "message"), [("none", "no such folder"), ("", "no audio files below it")])
def test_a_folder_without_audio_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_folder(tmp_path / name)
