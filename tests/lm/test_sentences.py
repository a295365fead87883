from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from aedo.data.bpe import BpeTokenizer
from aedo.data.text import CharTokenizer, normalizer
from aedo.errors import UserError
from aedo.lm.sentences import Line, lines_of_data, lines_of_files, spelled
from tests.lm.toy import sentences_of
from tests.train.micro import write_data

TOKENIZER = CharTokenizer([" ", "A", "B"])


def test_lines_of_files_plain_and_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A B\n\n  \nB\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"AB\n"))
    found = list(lines_of_files([tmp_path / "a.txt", tmp_path / "b.txt.gz"]))
    assert [(Path(line.where).name, line.text.strip()) for line in found] == [
        ("a.txt:1", "A B"),
        ("a.txt:4", "B"),
        ("b.txt.gz:1", "AB"),
    ]


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(lines_of_files([tmp_path / "none.txt"]))
    (tmp_path / "latin.txt").write_bytes("caf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin.txt: not UTF-8 text .*convert it"):
        list(lines_of_files([tmp_path / "latin.txt"]))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"A\n" * 100)[:20])
    with pytest.raises(UserError, match=r"cut.gz: cannot be read"):
        list(lines_of_files([tmp_path / "cut.gz"]))


def test_transcripts_of_a_prepared_folder(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=3, dev=1)
    found = list(lines_of_data(data, "train"))
    assert len(found) == 3
    assert found[1].where.endswith("train utterance 2")


def test_texts_are_normalised_and_cut_into_labels() -> None:
    found = spelled([Line("t:1", " a  b "), Line("t:2", "b")], TOKENIZER, normalizer("upper"))
    assert found.labels.tolist() == [3, 2, 4, 4]
    assert found.lengths.tolist() == [3, 1]
    assert found.words.tolist() == [2, 1]


def test_lines_with_unknown_characters_are_counted_and_named() -> None:
    lines = [Line(f"t:{i}", text) for i, text in enumerate(["A", "a", "B", "C"] * 10, 1)]
    message = r"20 of 40 lines hold characters .*: t:2, t:4, .*t:20 and 10 more; the first reads 'a'.*--leave-out"
    with pytest.raises(UserError, match=message):
        spelled(lines, TOKENIZER, str)
    assert len(spelled(lines, TOKENIZER, str, leave_out=True)) == 20


def test_vocabularies_without_an_unknown_label_refuse_the_same_lines() -> None:
    with pytest.raises(UserError, match=r"1 of 2 lines hold characters .*: t:2;"):
        spelled([Line("t:1", "7 8"), Line("t:2", "9")], BpeTokenizer(["</s>", "7", "8"], None), str)


def test_empty_texts_are_refused() -> None:
    with pytest.raises(UserError, match="no text: every line is empty"):
        spelled([Line("t:1", "  ")], TOKENIZER, str)
    with pytest.raises(UserError, match="nothing to train or measure a language model on: 1 of 1 lines"):
        spelled([Line("t:1", "x")], TOKENIZER, str, leave_out=True)


def test_a_batch_ends_with_eos_everywhere() -> None:
    sentences = sentences_of(["AB", "B", "AAA"], TOKENIZER)
    labels = sentences.padded(np.array([1, 2]))
    assert labels.ids.tolist() == [[4, 0, 0, 0], [3, 3, 3, 0]]
    assert labels.lengths.tolist() == [2, 4]


def test_one_of_twenty_sentences_is_held_out() -> None:
    sentences = sentences_of(["A"] * 19 + ["B"] + ["A"] * 19 + ["B"], TOKENIZER)
    train, held_out = sentences.held_out()
    assert (len(train), held_out.labels.tolist()) == (38, [4, 4])
    with pytest.raises(UserError, match=r"2 sentences are too few .*--dev TEXT"):
        sentences_of(["A", "B"], TOKENIZER).held_out()
