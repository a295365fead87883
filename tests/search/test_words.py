"""Which word a label belongs to, with every kind of tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aedo.data.bpe import BpeTokenizer
from aedo.data.text import CharTokenizer, TokenizerConfig, train_tokenizer
from aedo.search.words import samples_per_frame, words_of_labels
from tests.score.runs import small_experiment


def test_characters_belong_to_their_words_and_blanks_to_none() -> None:
    tokenizer = CharTokenizer("abc ")
    assert words_of_labels(tokenizer, tokenizer.encode("ab c  a")) == [0, 0, -1, 1, -1, 2]
    assert words_of_labels(tokenizer, []) == []


def test_joined_pieces_are_one_word() -> None:
    tokenizer = BpeTokenizer(["</s>", "<unk>", "ab@@", "c", "d"], None)
    assert words_of_labels(tokenizer, [2, 3, 4, 2, 2, 4]) == [0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentence_pieces_are_counted_as_the_text_counts_words(kind: str, tmp_path: Path) -> None:
    texts = ["THE CAT SAT", "ON THE MAT", "A CAT AND A MAT", "SAT THE MAN"]
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind, size=24), texts, tmp_path)
    for text in [*texts, "TACT"]:
        ids = tokenizer.encode(text)
        numbers = words_of_labels(tokenizer, ids)
        for number, word in enumerate(text.split()):
            inside = [label for label, at in zip(ids, numbers, strict=True) if at == number]
            assert tokenizer.decode(inside) == word


def test_a_frame_of_the_usual_front_end_is_60_milliseconds() -> None:
    torch.manual_seed(1)
    assert samples_per_frame(small_experiment().build_model(5)) == 960
