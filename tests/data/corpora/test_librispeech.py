from __future__ import annotations

from pathlib import Path

import pytest

from aedo.data.corpora.librispeech import download_librispeech, list_librispeech
from aedo.errors import UserError


def chapter(root: Path, part: str, name: str, suffix: str = ".flac", lines: int = 2) -> Path:
    speaker, number = name.split("-")
    folder = root / part / speaker / number
    folder.mkdir(parents=True)
    for i in range(lines):
        (folder / f"{name}-{i:04d}{suffix}").touch()
    (folder / f"{name}.trans.txt").write_text("".join(f"{name}-{i:04d} WORD {i}\n" for i in range(lines)))
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    chapter(root, "train-clean-100", "19-198")
    chapter(root, "dev-clean", "84-121123", ".opus")
    return tmp_path


@pytest.mark.parametrize("start", ["", "LibriSpeech"])
def test_parts_become_splits_whatever_the_audio_suffix(corpus: Path, start: str) -> None:
    items = list_librispeech(corpus / start).items
    assert [(i.id, i.split, i.speaker, i.text, i.audio.suffix) for i in items] == [
        ("84-121123-0000", "dev-clean", "84", "WORD 0", ".opus"),
        ("84-121123-0001", "dev-clean", "84", "WORD 1", ".opus"),
        ("19-198-0000", "train-clean-100", "19", "WORD 0", ".flac"),
        ("19-198-0001", "train-clean-100", "19", "WORD 1", ".flac"),
    ]


def test_a_single_part_can_be_named(corpus: Path) -> None:
    assert {i.split for i in list_librispeech(corpus / "LibriSpeech" / "dev-clean").items} == {"dev-clean"}
    assert {i.split for i in list_librispeech(corpus, ["dev-clean"]).items} == {"dev-clean"}


def test_a_missing_part_is_refused_with_those_that_exist(corpus: Path) -> None:
    with pytest.raises(UserError, match=r"part 'test-clean' is not there; there are dev-clean, train-clean-100"):
        list_librispeech(corpus, ["test-clean"])


def test_audio_without_a_line_and_lines_without_audio_are_refused(corpus: Path) -> None:
    folder = corpus / "LibriSpeech" / "dev-clean" / "84" / "121123"
    (folder / "84-121123-0000.opus").unlink()
    (folder / "84-121123-0009.opus").touch()
    listing = list_librispeech(corpus, ["dev-clean"])
    assert [i.id for i in listing.items] == ["84-121123-0001"]
    assert [(r.id, r.kind, r.split) for r in listing.refused] == [
        ("84-121123-0000", "audio file is missing", "dev-clean"),
        ("84-121123-0009", "no transcript", "dev-clean"),
    ]


def test_an_unreadable_transcript_refuses_its_chapter_only(corpus: Path) -> None:
    path = corpus / "LibriSpeech" / "dev-clean" / "84" / "121123" / "84-121123.trans.txt"
    path.write_bytes(b"84-121123-0000 \xff\xfe\n")
    listing = list_librispeech(corpus)
    assert len(listing.items) == 2
    assert [r.kind for r in listing.refused] == ["transcript is unreadable"] * 2


@pytest.mark.parametrize(("path", "message"), [("nowhere", "no such folder"), ("", "this is not LibriSpeech's layout")])
def test_a_folder_without_the_layout_is_refused(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_librispeech(tmp_path / path)


def test_only_known_parts_are_downloaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="LibriSpeech has no part 'train-clean-200'; it has train-clean-100"):
        download_librispeech(tmp_path, ["train-clean-200"])


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("lhotse.recipes.librispeech.resumable_download", fail)
    with pytest.raises(UserError, match="no route to host; check the network and run it again"):
        download_librispeech(tmp_path, ["dev-clean"])
