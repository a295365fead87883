"""The automaton of context phrases against the stated reward, counted by hand; and what becomes of phrases in words."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from aedo.conventions import EOS
from aedo.data.bpe import BpeTokenizer
from aedo.data.text import CharTokenizer, Tokenizer, TokenizerConfig, train_tokenizer
from aedo.errors import UserError
from aedo.search.hotwords import (
    Boundaries,
    PhraseScorer,
    PhraseState,
    compiled,
    phrase_automaton,
    read_phrases,
)

VOCABULARY = 7


def boundaries_of(seed: int) -> Boundaries:
    """Of one kind of tokenizer by turns: marks where words start, where they end, or labels that stand between them."""
    choose = random.Random(seed)
    marks = torch.tensor([choose.random() < 0.5 for _ in range(VOCABULARY)])
    nothing = torch.zeros(VOCABULARY, dtype=torch.bool)
    starts, ends = [(marks, nothing), (nothing, marks), (marks, marks)][seed % 3]
    starts, ends = starts.clone(), ends.clone()
    starts[EOS] = ends[EOS] = True
    return Boundaries(starts, ends)


def reward(labels: Sequence[int], phrases: Sequence[tuple[int, ...]], boundaries: Boundaries, *, whole: bool) -> int:
    """As the module states it: labels of the phrases heard, and (unless the utterance is over) of the one begun."""

    def boundary(place: int) -> bool:
        if place == 0 or (place == len(labels) and whole):
            return True
        return place < len(labels) and boundaries.between(labels[place - 1], labels[place])

    places = range(len(labels) + 1)
    heard = sum(
        len(phrase)
        for phrase in set(phrases)
        for start in places
        if tuple(labels[start : start + len(phrase)]) == phrase and boundary(start) and boundary(start + len(phrase))
    )
    begun = [
        len(labels) - start
        for start in places
        if boundary(start) and any(tuple(labels[start:]) == phrase[: len(labels) - start] for phrase in phrases)
    ]
    return heard if whole else heard + max(begun, default=0)


@pytest.mark.parametrize("seed", range(12))
def test_rewards_add_up_to_what_is_stated(seed: int) -> None:
    choose = random.Random(seed)
    boundaries = boundaries_of(seed)
    phrases = [tuple(choose.choices(range(1, 5), k=choose.randint(1, 4))) for _ in range(choose.randint(1, 6))]
    scorer = PhraseScorer(compiled([*phrases, phrases[0]], boundaries), batch=1)
    every = list(itertools.product(range(1, 6), repeat=4))
    labels = torch.tensor(every)[None]  # [1, K, 4]
    gains, state = scorer.step(None, scorer.start())
    gains, state = gains.expand(1, len(every), -1), PhraseState(state.states.expand(1, len(every)))
    totals = torch.zeros(len(every))
    for count in range(4):
        totals = totals + gains[0].gather(1, labels[0, :, count, None])[:, 0]
        assert totals.tolist() == [reward(one[: count + 1], phrases, boundaries, whole=False) for one in every]
        gains, state = scorer.step(labels[..., count], state)
    assert (totals + gains[0, :, EOS]).tolist() == [reward(one, phrases, boundaries, whole=True) for one in every]


def test_many_hypotheses_move_as_each_would_alone() -> None:
    boundaries = boundaries_of(4)
    automaton = compiled([(1, 2, 3), (2, 3), (3,), (1, 2, 1, 4)], boundaries)
    labels = torch.randint(1, VOCABULARY, (3, 5, 6), generator=torch.Generator().manual_seed(1))
    together = PhraseScorer(automaton, 3)
    state = PhraseState(torch.ones(3, 5, dtype=torch.int64))
    for step in range(6):
        gains, state = together.step(labels[..., step], state)
        for row, column in itertools.product(range(3), range(5)):
            alone, one = PhraseScorer(automaton, 1), PhraseState(torch.ones(1, 1, dtype=torch.int64))
            for label in labels[row, column, : step + 1].tolist():
                found, one = alone.step(torch.tensor([[label]]), one)
            assert torch.equal(gains[row, column], found[0, 0])
    moved = state.gather(torch.tensor([2, 0]), torch.tensor([[1, 1], [4, 0]]))
    assert moved.states.tolist() == [[state.states[2, 1]] * 2, [state.states[0, 4], state.states[0, 0]]]


def pieces(tmp_path: Path) -> Tokenizer:
    texts = ["RUB", "RUBOUT", "OUT", "RUB OUT", "START", "NEW YORK", "YORK", "NEWT"] * 4
    return train_tokenizer(TokenizerConfig(size=22), texts, tmp_path / "tokenizer")


def bytepairs(tmp_path: Path) -> Tokenizer:
    return BpeTokenizer(["</s>", "<unk>", "RUB", "RUB@@", "OUT", "NEW", "YORK", "T", "NEW@@", "START"], "R U\nRU B\n")


def characters(tmp_path: Path) -> Tokenizer:
    return CharTokenizer(" 'BEKNORSTUWYA")


@pytest.mark.parametrize("make", [pieces, characters])
def test_a_phrase_is_whole_words(make: object, tmp_path: Path) -> None:
    tokenizer: Tokenizer = make(tmp_path)  # type: ignore[operator]
    scorer = PhraseScorer(phrase_automaton(["RUB", "new york".upper()], tokenizer), 1)

    def total(text: str) -> float:
        gains, state = scorer.step(None, scorer.start())
        found = 0.0
        for label in tokenizer.encode(text):
            found += gains[0, 0, label].item()
            gains, state = scorer.step(torch.tensor([[label]]), state)
        return found + gains[0, 0, EOS].item()

    one, two = len(tokenizer.encode("RUB")), len(tokenizer.encode("NEW YORK"))
    assert total("RUB") == total("START RUB OUT") == one
    assert total("RUBOUT") == total("NEW") == total("NEWT YORK") == total("YORK START") == 0
    assert total("START NEW YORK") == two
    assert total("RUB NEW YORK RUB") == 2 * one + two


def test_where_pieces_say_that_the_word_goes_on_words_end(tmp_path: Path) -> None:
    tokenizer = bytepairs(tmp_path)
    found = Boundaries.of(tokenizer)
    assert found.ends.tolist() == [label not in ("RUB@@", "NEW@@") for label in tokenizer.labels]  # type: ignore[attr-defined]
    assert not found.starts[2:].any()
    assert found.starts[EOS]


def test_phrases_that_cannot_be_spelled_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot spell: 'rub', 'RUB 7'; write them as"):
        phrase_automaton(["RUB", "rub", "RUB 7"], characters(tmp_path))


def test_phrases_come_from_a_file_or_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("# people\nNEW  YORK\n\nRUB  # a name\nRUB\n")
    assert read_phrases(str(file)) == ("NEW YORK", "RUB")
    assert read_phrases("NEW YORK; RUB;") == ("NEW YORK", "RUB")
    for given, problem in ((" ; ", "holds no phrase"), (str(tmp_path / "none"), "no such file"), ("x.txt", "no such")):
        with pytest.raises(UserError, match=problem):
            read_phrases(given)
