from __future__ import annotations

from aedo.data.bpe import BpeTokenizer
from aedo.data.text import CharTokenizer
from aedo.lm.symbols import Symbols


def test_labels_keep_their_names_and_the_blank_gets_one() -> None:
    symbols = Symbols.of(CharTokenizer([" ", "a", "'"]))
    assert symbols.names == ("</s>", "<unk>", "\u2581", "a", "'")
    assert symbols.unknown == 1
    assert symbols.numbers()["<s>"] == symbols.begin == 5


def test_a_name_that_a_file_cannot_hold_becomes_a_number() -> None:
    symbols = Symbols.of(CharTokenizer([" ", "\u2581", "\u00a0", "b"]))
    assert symbols.names == ("</s>", "<unk>", "<2>", "<3>", "<4>", "b")


def test_imported_vocabularies_may_call_the_ends_otherwise() -> None:
    symbols = Symbols.of(BpeTokenizer(["<s>", "A@@", "<UNK>", "B"], None))
    assert symbols.names == ("</s>", "A@@", "<unk>", "B")
    assert symbols.numbers()["<UNK>"] == 2


def test_without_an_unknown_label_unknown_words_are_no_label() -> None:
    symbols = Symbols.of(BpeTokenizer(["</s>", "1", "2"], None))
    assert symbols.unknown is None
    assert symbols.numbers()["<unk>"] == symbols.no_label == 4
