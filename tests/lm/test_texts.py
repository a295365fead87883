from __future__ import annotations

import json
from pathlib import Path

import pytest

from aedo.data.text import TokenizerConfig, train_tokenizer
from aedo.errors import UserError
from aedo.lm.texts import Recogniser, gather
from aedo.run import RunFolder
from tests.train.micro import NAME, micro_experiment, write_data

LETTERS = "abcdefghij"


def run_at(path: Path, data: Path | None) -> Path:
    run = RunFolder(path)
    run.tokenizer_folder.mkdir(parents=True)
    train_tokenizer(TokenizerConfig(kind="char"), [LETTERS], run.tokenizer_folder)
    run.create(NAME, micro_experiment(), {"vocabulary": 12, "data": None if data is None else str(data)})
    return path


def test_texts_go_through_the_steps_of_the_recognisers_transcripts(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    (data / "card.json").write_text(json.dumps({"normalize": "nopunct,lower"}))
    found = Recogniser.of_run(run_at(tmp_path / "run", data))
    assert (found.normalize, found.known) == ("nopunct,lower", True)
    assert found.tokenizer.size == 12


@pytest.mark.parametrize("card", [None, "no JSON", "{}"])
def test_without_a_card_the_steps_are_unknown(tmp_path: Path, card: str | None) -> None:
    data = write_data(tmp_path / "data")
    if card is not None:
        (data / "card.json").write_text(card)
    found = Recogniser.of_run(run_at(tmp_path / "run", data))
    assert (found.normalize, found.known) == ("none", False)
    assert not Recogniser.of_run(run_at(tmp_path / "imported", None)).known


def test_a_tokenizer_is_found_by_its_folder_its_file_or_its_run(tmp_path: Path) -> None:
    run = run_at(tmp_path / "run", None)
    places = (run, run / "tokenizer", run / "tokenizer" / "tokenizer.json")
    assert {Recogniser.of_tokenizer(place).tokenizer.digest for place in places} == {RunFolder(run).tokenizer().digest}
    with pytest.raises(UserError, match="no such file; a tokenizer is"):
        Recogniser.of_tokenizer(tmp_path)


def test_files_and_transcripts_are_taken_together(tmp_path: Path) -> None:
    recogniser = Recogniser.of_tokenizer(run_at(tmp_path / "run", None))
    data = write_data(tmp_path / "data", train=3, dev=2)
    (tmp_path / "text.txt").write_text("abc\n")
    (tmp_path / "dev.txt").write_text("cab\n")
    found = gather(recogniser, [tmp_path / "text.txt"], data, None, normalize="none", leave_out=False)
    assert (len(found.train), len(found.held_out)) == (4, 2)
    assert found.about["held_out"].endswith("data, split dev")
    found = gather(recogniser, [], data, tmp_path / "dev.txt", normalize="none", leave_out=False)
    assert (len(found.train), len(found.held_out)) == (3, 1)
    assert len(found.about["held_out"]["sha256"]) == 64


def test_folders_without_training_data_are_refused(tmp_path: Path) -> None:
    recogniser = Recogniser.of_tokenizer(run_at(tmp_path / "run", None))
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="no prepared training data"):
            gather(recogniser, [], place, None, normalize="none", leave_out=False)
