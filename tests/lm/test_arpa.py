from __future__ import annotations

import gzip
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from aedo.data.text import CharTokenizer
from aedo.errors import UserError
from aedo.lm.arpa import LN10, NGrams, read_arpa, write_arpa
from aedo.lm.ngram import NgramLM
from aedo.lm.symbols import Symbols
from tests.lm.toy import estimated

TEXT = """
\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-0.7\t</s>
-0.5\ta\t-0.2

\\2-grams:
-0.4\t<s> a
-0.25\ta </s>

\\end\\
"""
SYMBOLS = Symbols.of(CharTokenizer(["a", "b"]))


def read(path: Path, text: str = TEXT) -> list[NGrams]:
    path.write_text(text, encoding="utf-8")
    return read_arpa(path, SYMBOLS)


def test_reads_probabilities_and_weights_as_natural_logarithms(tmp_path: Path) -> None:
    unigrams, bigrams = read(tmp_path / "lm.arpa")
    assert unigrams.words.tolist() == [[1], [4], [0], [2]]
    np.testing.assert_allclose(unigrams.log_probs / LN10, [-1.5, -99, -0.7, -0.5])
    np.testing.assert_allclose(unigrams.backoffs / LN10, [0, -0.3, 0, -0.2])
    assert bigrams.words.tolist() == [[4, 2], [2, 0]]
    np.testing.assert_allclose(bigrams.log_probs, [-0.4 * math.log(10), -0.25 * math.log(10)])


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_what_was_written_is_read_again(tmp_path: Path, name: str) -> None:
    orders, symbols = estimated(3)
    write_arpa(tmp_path / name, orders, symbols)
    again = read_arpa(tmp_path / name, symbols)
    for ours, theirs in zip(orders, again, strict=True):
        assert ours.words.tolist() == theirs.words.tolist()
        np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=1e-5)
        np.testing.assert_allclose(ours.backoffs, theirs.backoffs, atol=1e-5)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    orders, symbols = estimated(2)
    for name in ("one.arpa.gz", "two.arpa.gz"):
        write_arpa(tmp_path / name, orders, symbols)
    assert (tmp_path / "one.arpa.gz").read_bytes() == (tmp_path / "two.arpa.gz").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", "not an ARPA file: it has no line"),
        ("ngram 1=4", "ngram one=4", r"lm.arpa:3: expected ngram 1=COUNT"),
        ("ngram 2=2", "ngram 2=3", r"lm.arpa:16: expected a logarithm, 2 words"),
        ("ngram 1=4", "ngram 1=1000000000000000", "more n-grams than there is memory for"),
        ("ngram 2=2", "ngram 2=1", r"lm.arpa:14: expected \\end"),
        ("\\end\\", "", r"expected \\end"),
        ("-0.25", "minus", "'minus' .* is no number"),
        ("-0.25", "0.25", "2-grams hold logarithms above 0"),
        ("-0.25", "nan", "2-grams hold logarithms above 0"),
        ("a </s>", "a</s>", r"lm.arpa:14: expected a logarithm, 2 words"),
        ("<s> a", "<s> HELLO", "1 of its 2 2-grams have words that are no labels .*HELLO.*aedo train-lm TEXT"),
    ],
)
def test_a_broken_file_is_refused_by_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path / "lm.arpa", TEXT.replace(old, new, 1))


def test_a_model_over_words_is_refused_with_what_to_do(tmp_path: Path) -> None:
    text = TEXT.replace("\ta\t", "\tHELLO\t").replace(" a\n", " HELLO\n").replace("\ta ", "\tHELLO ")
    with pytest.raises(UserError, match=r"1 of its 4 1-grams .* no labels .*HELLO.*make one with aedo train-lm"):
        read(tmp_path / "lm.arpa", text)


def test_a_binary_file_of_kenlm_is_refused_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "lm.bin").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(100))
    with pytest.raises(UserError, match=r"a binary file of KenLM.*give the ARPA file it was made of"):
        read_arpa(tmp_path / "lm.bin", SYMBOLS)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_arpa(tmp_path / "none.arpa", SYMBOLS)
    with pytest.raises(UserError, match="a folder"):
        read_arpa(tmp_path, SYMBOLS)
    (tmp_path / "cut.arpa.gz").write_bytes(gzip.compress(TEXT.encode())[:60])
    with pytest.raises(UserError, match="not a readable ARPA file"):
        read_arpa(tmp_path / "cut.arpa.gz", SYMBOLS)
    (tmp_path / "latin.arpa").write_bytes(TEXT.replace("a </s>", "\u00e9 </s>").encode("latin-1"))
    with pytest.raises(UserError, match="not a readable ARPA file"):
        read_arpa(tmp_path / "latin.arpa", SYMBOLS)


def test_our_files_say_to_kenlm_what_they_say_to_us(tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm is not installed")
    orders, symbols = estimated(4, count=200)
    write_arpa(tmp_path / "lm.arpa", orders, symbols)
    theirs, ours = kenlm.Model(str(tmp_path / "lm.arpa")), NgramLM(orders, symbols)
    for letters in itertools.product("abcde", repeat=4):
        expected = [score for score, _, _ in theirs.full_scores(" ".join(letters), bos=True, eos=True)]
        numbers = [symbols.numbers()[letter] for letter in letters] + [0]
        found, context = [], torch.tensor([ours.tables.begin])
        for number in numbers:
            found.append(float(ours.tables.score(context)[0, number]) / LN10)
            context = ours.tables.follow(context, torch.tensor([number]))
        np.testing.assert_allclose(found, expected, atol=1e-4)
