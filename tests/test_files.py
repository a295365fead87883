"""Files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aedo.errors import UserError
from aedo.files import explained, new_folder, remove_folder, remove_leftovers, write_text


def test_a_text_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, "old")

    def fail(source: Path, target: Path) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "made") as folder:
        (folder / "part").write_text("x")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made" / "part").read_text() == "x"
    with new_folder(tmp_path / "made") as folder:
        (folder / "other").write_text("y")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["other"], "replaced, not mixed"


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "made") as folder:
        (folder / "part").write_bytes((tmp_path / "missing").read_bytes())
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_go_and_the_rest_stays(tmp_path: Path) -> None:
    for name in (".text.tmp", ".other.old", "kept.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    (tmp_path / ".file.tmp").write_text("")
    (tmp_path / ".hidden").write_text("")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "kept.tmp"]
    remove_folder(tmp_path / "kept.tmp")
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]


def test_errors_of_the_file_system_are_explained_and_others_are_not(tmp_path: Path) -> None:
    message = "cannot read it: No such file or directory; check the disk, then try again"
    with pytest.raises(UserError, match=message), explained(tmp_path, "read it", "then try again"):
        (tmp_path / "missing").read_text()
    with pytest.raises(ZeroDivisionError), explained(tmp_path, "divide"):
        print(1 / 0)
    with pytest.raises(UserError, match=r"^clear already$"), explained(tmp_path, "say it"):
        raise UserError("clear already")
