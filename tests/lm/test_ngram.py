"""Scores of whole batches against the definition of back-off, one n-gram after the other."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from aedo.data.text import CharTokenizer
from aedo.errors import UserError
from aedo.lm import ngram
from aedo.lm.arpa import LN10, NGrams
from aedo.lm.ngram import NgramLM, NgramScorer
from aedo.lm.symbols import Symbols
from aedo.lm.trie import UNSEEN
from aedo.search.scorer import LabelScorer
from tests.lm.toy import CPU, estimated, ngram_lm, some_labels


def by_definition(orders: list[NGrams], history: tuple[int, ...], label: int) -> float:
    """log p(label | history): the longest n-gram there is, and the weights of the contexts that do not know it."""
    tables = [{tuple(w): (p, b) for w, p, b in zip(g.words.tolist(), g.log_probs, g.backoffs)} for g in orders]
    total = 0.0
    for count in range(min(len(orders) - 1, len(history)), -1, -1):
        context = history[len(history) - count :]
        if (*context, label) in tables[count]:
            return total + float(tables[count][(*context, label)][0])
        if count and context in tables[count - 1]:
            total += float(tables[count - 1][context][1])
    raise AssertionError(label)


def scorers(lm: NgramLM, monkeypatch: pytest.MonkeyPatch, utterances: int) -> list[NgramScorer]:
    """With scores computed step by step, and looked up in a table."""
    found = []
    for most in (0, 1 << 22):
        monkeypatch.setattr(ngram, "DENSE", most)
        lm._on.clear()
        found.append(lm.scorer(utterances, CPU))
    assert found[0].dense is None
    assert found[1].dense is not None
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_scores_are_those_of_the_definition(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, symbols = estimated(order)
    histories = list(itertools.product(range(1, symbols.size), repeat=3))
    labels = torch.tensor(histories).view(2, -1, 3)  # two utterances with many hypotheses each
    for scorer in scorers(NgramLM(orders, symbols), monkeypatch, 2):
        scores, state = scorer.step(None, scorer.start())
        state = state.gather(torch.arange(2), torch.zeros(labels.shape[:2], dtype=torch.int64))
        for step in range(3):
            scores, state = scorer.step(labels[..., step], state)
        expected = [[by_definition(orders, (symbols.begin, *h), v) for v in range(symbols.size)] for h in histories]
        torch.testing.assert_close(scores.flatten(0, 1), torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_every_distribution_sums_to_one(order: int) -> None:
    tables = ngram_lm(order).tables
    sums = tables.score(torch.arange(len(tables.backoffs))).double().exp().sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-6, rtol=0)


def test_a_batch_gives_each_what_it_gets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = some_labels(7, [5, 2, 4, 1])
    for scorer in scorers(ngram_lm(), monkeypatch, 4):
        scores, state = scorer.step(labels.ids[:, :1], scorer.step(None, scorer.start())[1])
        for row in range(4):
            alone = scorer.select(torch.tensor([row]))
            single, _ = alone.step(labels.ids[row : row + 1, :1], alone.step(None, alone.start())[1])
            assert torch.equal(single[0], scores[row])
        picked = state.gather(torch.tensor([2, 0]), torch.zeros(2, 1, dtype=torch.int64))
        both, _ = scorer.step(labels.ids[[2, 0], 1:2], picked)
        all_, _ = scorer.step(labels.ids[:, 1:2], state)
        assert torch.equal(both, all_[[2, 0]])


def test_put_replaces_the_hypotheses_taken_only() -> None:
    scorer = ngram_lm().scorer(1, CPU)
    _, state = scorer.step(None, scorer.start())
    old = state.gather(torch.tensor([0]), torch.tensor([[0, 0, 0]]))
    _, new = scorer.step(torch.tensor([[2, 3]]), old.gather(torch.tensor([0]), torch.tensor([[0, 1]])))
    put = old.put(torch.tensor([[2, 0]]), new, torch.tensor([[True, False]]))
    assert put.contexts.tolist() == [[old.contexts[0, 0], old.contexts[0, 1], new.contexts[0, 0]]]


def test_whole_sentences_score_the_sum_of_their_labels() -> None:
    orders, symbols = estimated(3)
    lm, labels = NgramLM(orders, symbols), some_labels(symbols.size, [4, 0, 2])
    for row, total in enumerate(lm.log_probs(labels).tolist()):
        ids = labels.ids[row, : labels.lengths[row]].tolist()
        each = [by_definition(orders, (symbols.begin, *ids[:i]), label) for i, label in enumerate(ids)]
        assert total == pytest.approx(sum(each), abs=1e-5)


def test_a_context_that_nothing_follows_is_no_state_of_its_own() -> None:
    lm = ngram_lm(3)
    after_end = lm.tables.follow(torch.tensor([lm.tables.begin]), torch.tensor([0]))
    assert after_end.tolist() == [0]


def test_labels_unknown_to_the_file_get_what_it_has_for_unknown_words() -> None:
    symbols = Symbols.of(CharTokenizer(["a", "b"]))
    words, zeros = np.array([[0], [2], [1]]), np.zeros(3)
    with_unknown = NgramLM([NGrams(words, np.array([-1.0, -2.0, -3.0]), zeros)], symbols)
    assert with_unknown.tables.unigrams.tolist() == [-1.0, -3.0, -2.0, -3.0]
    without = NgramLM([NGrams(words[:2], np.array([-1.0, -2.0]), zeros[:2])], symbols)
    assert without.tables.unigrams.tolist() == pytest.approx([-1.0, UNSEEN, -2.0, UNSEEN])


def test_pruned_models_work_where_suffixes_are_missing() -> None:
    """Some tools drop an n-gram but keep longer ones that end with it."""
    orders, symbols = estimated(3)
    ab, trigrams = symbols.numbers()["b"], orders[2]
    keep = ~((orders[1].words[:, 1] == ab) & (orders[1].words[:, 0] == symbols.numbers()["a"]))
    gone = {tuple(pair) for pair in orders[1].words[~keep].tolist()}
    has_prefix = np.array([tuple(words[:2]) not in gone for words in trigrams.words.tolist()])
    pruned = [orders[0], NGrams(*(v[keep] for v in orders[1])), NGrams(*(v[has_prefix] for v in trigrams))]
    lm = NgramLM(pruned, symbols)
    for history in itertools.product(range(2, symbols.size), repeat=2):
        context = torch.tensor([lm.tables.begin])
        for label in history:
            context = lm.tables.follow(context, torch.tensor([label]))
        expected = [by_definition(pruned, (symbols.begin, *history), v) for v in range(symbols.size)]
        torch.testing.assert_close(lm.tables.score(context)[0], torch.tensor(expected), atol=1e-5, rtol=0)


def test_incomplete_models_are_refused(tmp_path: Path) -> None:
    text = "\\data\\\nngram 1=3\nngram 2={}\n\n\\1-grams:\n-1 <unk>\n-1 </s>\n-1 a -1\n\n\\2-grams:\n{}\n\\end\\\n"
    path = tmp_path / "lm.arpa"
    tokenizer = CharTokenizer(["a", "b"])
    path.write_text(text.format(1, "-1 b a\n"))
    with pytest.raises(UserError, match=r"not a whole model: 1 2-grams have no prefix"):
        NgramLM.read(path, tokenizer)
    path.write_text(text.format(2, "-1 a a\n-1 a a\n"))
    with pytest.raises(UserError, match=r"some of the 2-grams stand there twice"):
        NgramLM.read(path, tokenizer)
    path.write_text(text.format(1, "-1 a a\n"))
    assert NgramLM.read(path, tokenizer).tables.scores.tolist() == pytest.approx([-LN10])


def test_it_is_a_scorer_of_labels() -> None:
    scorer: LabelScorer = ngram_lm().scorer(3, CPU)
    scores, _ = scorer.step(None, scorer.start())
    assert scores.shape == (3, 1, 7)
