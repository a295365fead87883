from __future__ import annotations

from collections import Counter
from math import exp, log

import numpy as np
import pytest
from pydantic import ValidationError

from aedo.augment.labels import Lexicon, LongestMatchSampling, UnigramSampling, draw_labels, likely_pieces, long_pieces
from aedo.experiment import Experiment

PIECES = {piece: i for i, piece in enumerate(("_", "_a", "_ab", "b", "ab", "abb", "c", "bc"), 2)}
NAMES = {i: piece for piece, i in PIECES.items()}
LEXICON = Lexicon(PIECES, {piece: -0.5 * i for piece, i in PIECES.items()}, 3, before="_")
WAYS = {  # of "_abbc", all there are, by hand
    ("_", "ab", "b", "c"),
    ("_", "ab", "bc"),
    ("_", "abb", "c"),
    ("_a", "b", "b", "c"),
    ("_a", "b", "bc"),
    ("_ab", "b", "c"),
    ("_ab", "bc"),
}


def spelled(labels: list[int] | None) -> tuple[str, ...]:
    assert labels is not None
    return tuple(NAMES[label] for label in labels)


def test_without_luck_the_longest_piece_is_taken() -> None:
    state = np.random.default_rng(0)
    assert spelled(long_pieces("_abbc", LEXICON, 0.0, state)) == ("_ab", "bc")


def test_a_longest_piece_that_leads_nowhere_is_given_up() -> None:
    lexicon = Lexicon({"abc": 2, "ab": 3, "cd": 4}, {}, 3)
    assert long_pieces("abcd", lexicon, 0.0, np.random.default_rng(0)) == [3, 4]
    assert long_pieces("abcde", lexicon, 0.5, np.random.default_rng(0)) is None


def test_a_decision_deviates_as_often_as_asked_for() -> None:
    state, draws = np.random.default_rng(1), 20_000
    seen = Counter(spelled(long_pieces("_abbc", LEXICON, 0.1, state)) for _ in range(draws))
    # "_ab" then "bc": neither of the two decisions deviates; three other pieces start at "_", of which one is next.
    assert seen[("_ab", "bc")] / draws == pytest.approx(0.81, abs=0.01)
    assert seen[("_ab", "b", "c")] / draws == pytest.approx(0.09, abs=0.01)
    assert set(seen) <= WAYS
    often = Counter(spelled(long_pieces("_abbc", LEXICON, 0.5, state)) for _ in range(draws))
    assert set(often) == WAYS


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_segmentations_come_as_often_as_the_unigram_model_says(alpha: float) -> None:
    weights = {way: exp(alpha * sum(LEXICON.scores[piece] for piece in way)) for way in WAYS}
    state, draws = np.random.default_rng(2), 20_000
    seen = Counter(spelled(likely_pieces("_abbc", LEXICON, alpha, state)) for _ in range(draws))
    for way in WAYS:
        assert seen[way] / draws == pytest.approx(weights[way] / sum(weights.values()), abs=0.012)
    assert likely_pieces("_abx", LEXICON, alpha, state) is None


def test_long_words_are_cut_too() -> None:
    lexicon = Lexicon({"a": 2, "aa": 3}, {"a": log(1e-5), "aa": log(1e-9)}, 2)
    labels = likely_pieces("a" * 2000, lexicon, 1.0, np.random.default_rng(0))
    assert labels is not None
    assert sum(label - 1 for label in labels) == 2000
    assert long_pieces("a" * 2001, lexicon, 0.0, np.random.default_rng(0)) == [3] * 1000 + [2]


def test_equal_seeds_draw_equal_labels_and_strange_words_stay_as_they_are() -> None:
    config = LongestMatchSampling(deviate=0.5)
    texts = [draw_labels("abbc x abc", config, LEXICON, lambda word: [ord(word[0])], seed) for seed in (3, 3, 4, 5, 6)]
    assert texts[0] == texts[1]
    assert len({tuple(text) for text in texts}) > 1
    assert all(ord("x") in text for text in texts)


def test_labels_are_drawn_only_where_there_is_a_choice() -> None:
    with pytest.raises(ValidationError, match="characters spell a text in one way"):
        Experiment().with_("tokenizer.kind", "char").with_("augment.labels", LongestMatchSampling())
    with pytest.raises(ValidationError, match=r"tokenizer\.kind is bpe"):
        Experiment().with_("augment.labels", UnigramSampling())
