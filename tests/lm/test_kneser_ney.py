from __future__ import annotations

import math

import numpy as np
import pytest

from aedo.data.text import CharTokenizer
from aedo.lm.arpa import LN10, read_arpa
from aedo.lm.kneser_ney import FALLBACK, estimate
from aedo.lm.symbols import Symbols
from tests.lm.toy import GOLDEN, sentences_of


@pytest.mark.parametrize(
    ("text", "arpa", "order"), [("text.txt", "text-3.arpa.gz", 3), ("small.txt", "small-2.arpa", 2)]
)
def test_equals_what_lmplz_makes_of_the_text(text: str, arpa: str, order: int) -> None:
    """With --vocab_pad set to the number of labels, and --discount_fallback for the small one.

    The last word that is new in the longer text stands there once: for statistics of the n-gram that comes last in its
    order lmplz takes the plain count, not the number of words before, and then the two are the same.
    """
    texts = (GOLDEN / text).read_text().split()
    tokenizer = CharTokenizer(sorted(set("".join(texts))))
    symbols = Symbols.of(tokenizer)
    found = estimate(sentences_of(texts, tokenizer), symbols.size, order).orders
    for ours, theirs in zip(found, read_arpa(GOLDEN / arpa, symbols), strict=True):
        expected = {tuple(w): (p, b) for w, p, b in zip(theirs.words.tolist(), theirs.log_probs, theirs.backoffs)}
        assert {tuple(words) for words in ours.words.tolist()} == set(expected)
        for words, log_prob, backoff in zip(ours.words.tolist(), ours.log_probs, ours.backoffs):
            assert (log_prob, backoff) == pytest.approx(expected[tuple(words)], abs=2e-6 * LN10), words


def test_a_bigram_model_by_hand() -> None:
    """Sentences `ab` and `b`: every count by hand, the discounts that stand in for those that nothing tells."""
    tokenizer = CharTokenizer(["a", "b"])  # </s> <unk> a b
    found = estimate(sentences_of(["ab", "b"], tokenizer), 4, 2)
    assert found.fallen_back == [1, 2]
    assert found.discounts == [FALLBACK, FALLBACK]
    # Different words before: </s> after b; a after <s>; b after <s> and a.  Discounts 0.5, 0.5, 1: 2 of 4 left over.
    uniform = (0.5 + 0.5 + 1) / 4 / 4
    p = {"</s>": 0.5 / 4 + uniform, "<unk>": uniform, "a": 0.5 / 4 + uniform, "b": 1 / 4 + uniform}
    unigrams = dict(zip(("</s>", "<unk>", "a", "b", "<s>"), np.exp(found.orders[0].log_probs)))
    assert unigrams == pytest.approx({**p, "<s>": 1.0})
    # b is followed by </s> twice: discount 1 of 2.  <s> by a and by b once each: 0.5 twice of 2.  a by b once.
    backoffs = np.exp(found.orders[0].backoffs)
    assert backoffs.tolist() == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.5])
    bigrams = {tuple(w): v for w, v in zip(found.orders[1].words.tolist(), np.exp(found.orders[1].log_probs))}
    assert bigrams == pytest.approx(
        {
            (4, 2): 0.25 + 0.5 * p["a"],
            (4, 3): 0.25 + 0.5 * p["b"],
            (2, 3): 0.5 + 0.5 * p["b"],
            (3, 0): 0.5 + 0.5 * p["</s>"],
        }
    )


def test_discounts_come_from_the_counts_of_counts() -> None:
    texts = (GOLDEN / "text.txt").read_text().split()
    tokenizer = CharTokenizer(sorted(set("".join(texts))))
    found = estimate(sentences_of(texts, tokenizer), 29, 3)
    assert found.fallen_back == []
    printed = [(0.2, 0.8, 2.0), (0.567308, 1.47051, 1.37912), (0.714286, 1.29742, 0.714286)]  # by lmplz
    np.testing.assert_allclose(found.discounts, printed, rtol=1e-5)


def test_a_unigram_model_counts_all_labels() -> None:
    tokenizer = CharTokenizer(["a"])
    found = estimate(sentences_of(["aaaa"], tokenizer), 3, 1)
    ends, unknown, a = np.exp(found.orders[0].log_probs[:3])
    assert ends + unknown + a == pytest.approx(1.0)
    assert a == pytest.approx((4 - 1.5) / 5 + (1.5 + 0.5) / 5 / 3)


def test_no_order_is_too_high_for_short_sentences() -> None:
    tokenizer = CharTokenizer(["a", "b"])
    found = estimate(sentences_of(["a", "b"], tokenizer), 4, 5)
    assert [len(grams.words) for grams in found.orders] == [5, 4, 2, 0, 0]
    assert all(math.isfinite(value) for grams in found.orders for value in [*grams.log_probs, *grams.backoffs])
