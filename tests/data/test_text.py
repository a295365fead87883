from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aedo.conventions import EOS
from aedo.data.text import UNKNOWN, TokenizerConfig, load_tokenizer, normalizer, train_tokenizer
from aedo.errors import UserError

TEXTS = [
    "TURN ON THE LIGHT IN THE KITCHEN",
    "TURN OFF THE HEATER",
    "IT'S RAINING IN LONDON TODAY",
    "REMIND ME ABOUT THE MEETING ON MONDAY",
    "PLAY SOME MUSIC IN THE LIVING ROOM",
] * 4
KINDS = ["bpe", "unigram", "char"]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_come_back_after_saving_and_loading(tmp_path: Path, kind: str) -> None:
    trained = train_tokenizer(TokenizerConfig(kind=kind, size=60), TEXTS, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert (loaded.size, loaded.digest) == (trained.size, trained.digest)
    for text in TEXTS:
        ids = loaded.encode(text)
        assert ids == trained.encode(text)
        assert loaded.decode(ids) == text
        assert EOS not in ids
        assert max(ids) < loaded.size


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_vocabulary_has_the_size_asked_for(tmp_path: Path, kind: str) -> None:
    assert train_tokenizer(TokenizerConfig(kind=kind, size=38), TEXTS, tmp_path).size == 38


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    for name in "ab":
        train_tokenizer(TokenizerConfig(kind=kind, size=60), TEXTS, tmp_path / name)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_corpus_too_small_gives_the_largest_vocabulary_it_can_and_says_so(tmp_path: Path, kind: str, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        tokenizer = train_tokenizer(TokenizerConfig(kind=kind, size=10025), TEXTS, tmp_path)
    assert 28 < tokenizer.size < 10025
    assert f"the corpus gives {tokenizer.size} {kind} labels, 10025 were asked for" in caplog.text
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    assert (description["size_asked"], description["size"]) == (10025, tokenizer.size)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_characters_are_label_one_and_eos_is_skipped(tmp_path: Path, kind: str) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind, size=60), TEXTS, tmp_path)
    ids = tokenizer.encode("THE Ж")
    assert ids[-1] == UNKNOWN
    assert ids.count(UNKNOWN) == 1
    assert tokenizer.decode([*ids, EOS]) == "THE <unk>"
    assert tokenizer.decode([]) == ""
    assert tokenizer.encode("") == []


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_separated_by_single_blanks(tmp_path: Path, kind: str) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind, size=60), TEXTS, tmp_path)
    assert tokenizer.decode(tokenizer.encode("  THE   LIGHT ")) == "THE LIGHT"


def test_the_letters_of_english_make_30_labels(tmp_path: Path) -> None:
    texts = ["THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG'S BACK"]
    assert (
        train_tokenizer(TokenizerConfig(kind="char"), texts, tmp_path).size == 26 + 2 + 2
    )  # ' and blank, EOS, unknown


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_travels_to_worker_processes(tmp_path: Path, kind: str) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind, size=60), TEXTS, tmp_path)
    assert pickle.loads(pickle.dumps(tokenizer)).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_at_all_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match="the training texts are empty"):
        train_tokenizer(TokenizerConfig(kind=kind), ["", "  "], tmp_path)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_fewer_labels_than_characters_are_refused_with_the_number_needed(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match=r"tokenizer.size 5 is too small: .* need at least \d+ labels"):
        train_tokenizer(TokenizerConfig(kind=kind, size=5), TEXTS, tmp_path)


def damage(folder: Path, **changes: object) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
        (lambda f: (f / "tokenizer.model").unlink(), "tokenizer.model: no such file"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "not a tokenizer description"),
        (lambda f: (f / "tokenizer.model").write_bytes(b"rubbish"), "not a tokenizer description"),
        (lambda f: damage(f, digest="0"), "the vocabulary does not match its digest"),
        (lambda f: damage(f, format=9), "format 9 is unknown, expected 1"),
    ],
)
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, harm, message: str) -> None:
    train_tokenizer(TokenizerConfig(kind="bpe", size=60), TEXTS, tmp_path)
    harm(tmp_path)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("steps", "text", "expected"),
    [
        ("none", "  Two\t words \n", "Two words"),
        ("upper", "straße it's", "STRASSE IT'S"),
        ("lower", "HELLO", "hello"),
        ("unicode", "‘It’s’ “fine” — ﬁne…\u200b", "'It's' \"fine\" - fine..."),
        ("unicode", "e\u200d\u0301", "é"),
        ("nopunct", "'Tis it's, (really) well-known: 5% x_y dogs'", "Tis it's really well known 5 x y dogs"),
        ("unicode,nopunct,upper", "“Don’t!”", "DON'T"),
        ("nopunct", "?!", ""),
    ],
)
def test_normalisation(steps: str, text: str, expected: str) -> None:
    assert normalizer(steps)(text) == expected


@given(st.text(), st.sampled_from(["unicode", "nopunct", "unicode,nopunct", "upper", "lower"]))
def test_normalising_twice_changes_nothing_more(text: str, steps: str) -> None:
    once = normalizer(steps)(text)
    assert normalizer(steps)(once) == once


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(UserError, match="unknown step 'uper'; there are none, unicode, nopunct, upper, lower"):
        normalizer("unicode,uper")
