from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from aedo.data.text import CharTokenizer
from aedo.lm.arpa import NGrams
from aedo.lm.ngram import NgramLM
from aedo.lm.perplexity import batches, perplexity_of
from aedo.lm.symbols import Symbols
from tests.lm.toy import ngram_lm, random_texts, sentences_of, transformer_lm

TOKENIZER = CharTokenizer(["a", "b", " "])


def test_a_uniform_model_is_as_perplexed_as_there_are_labels() -> None:
    symbols = Symbols.of(TOKENIZER)
    words = np.arange(5)[:, None]
    uniform = NgramLM([NGrams(words, np.full(5, -math.log(5)), np.zeros(5))], symbols)
    found = perplexity_of(uniform, sentences_of(["ab a", "b"], TOKENIZER))
    assert found.per_label == pytest.approx(5.0)
    assert (found.labels, found.words, found.sentences) == (7, 5, 2)
    assert found.per_word == pytest.approx(5 ** (7 / 5))


@pytest.mark.parametrize("kind", ["ngram", "transformer"])
def test_the_cut_into_batches_does_not_matter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ngram_lm() if kind == "ngram" else transformer_lm()
    sentences = sentences_of(random_texts(30, "abcde", 3), CharTokenizer(list("abcde")))
    whole = perplexity_of(model, sentences)
    monkeypatch.setattr("aedo.lm.perplexity.BATCH", 10)
    assert perplexity_of(model, sentences).log_prob == pytest.approx(whole.log_prob, rel=1e-5)


def test_batches_hold_at_most_so_many_labels_but_one_sentence_at_least() -> None:
    lengths = np.array([2, 2, 3, 9, 1])
    found = [batch.tolist() for batch in batches(np.arange(5), lengths, 6)]
    assert found == [[0, 1], [2], [3], [4]]


def test_infinite_perplexities_are_no_error() -> None:
    class Never:
        def log_probs(self, labels: object) -> torch.Tensor:
            return torch.full((1,), -1e6)

    assert perplexity_of(Never(), sentences_of(["a"], TOKENIZER)).per_label == math.inf
