"""Beam search against all possible sequences, and against the rules applied one hypothesis at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.search.beam import _empty, _extend, beam_search, reference_scores
from aedo.search.hypotheses import Hypothesis, NBest
from tests.search.toy import Automaton, Table, automaton, every_hypothesis, plain_search

EVERYTHING = 2000
"""A beam in which every sequence of the toys has room."""


def search(scorer: Automaton, table: Table, limits: list[int], beam: int, exponent: float = 1.0) -> NBest:
    return beam_search(scorer, table, torch.tensor(limits), beam=beam, length_normalization=exponent)


def assert_same(found: tuple[Hypothesis, ...], expected: list[Hypothesis]) -> None:
    assert [h.labels for h in found] == [h.labels for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-5)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_beam_with_room_for_everything_is_an_exhaustive_search(exponent: float) -> None:
    limits = [4, 1, 3, 5]
    scorer, table = automaton(1, batch=4, vocabulary=4)
    found = search(scorer, table, limits, EVERYTHING, exponent)
    for utterance, limit in enumerate(limits):
        expected = every_hypothesis(scorer, table, utterance, limit, exponent)
        assert_same(found.hypotheses(utterance), expected)


@settings(max_examples=60, deadline=None, derandomize=True)  # other examples could bring near ties
@given(
    seed=st.integers(0, 10_000),
    limits=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    beam=st.integers(1, 6),
    exponent=st.sampled_from([0.0, 0.7, 1.0]),
    eos_bias=st.sampled_from([-1.0, 0.0, 2.0]),
)
def test_every_beam_keeps_what_the_rules_say(
    seed: int, limits: list[int], beam: int, exponent: float, eos_bias: float
) -> None:
    scorer, table = automaton(seed, batch=len(limits), vocabulary=8, eos_bias=eos_bias)
    found = search(scorer, table, limits, beam, exponent)
    for utterance, limit in enumerate(limits):
        assert_same(found.hypotheses(utterance), plain_search(scorer, table, utterance, limit, beam, exponent))


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_scores_are_log_probabilities_however_large_the_logits(size: float) -> None:
    torch.manual_seed(0)
    logits = (size * torch.randn(2, 3, 7) + size).double()
    added = torch.randn(2, 3, 7)
    added[..., 2] = -1e3  # the largest logit is not the best label
    for extra in (None, added):
        old = _empty(torch.tensor([9, 9])).at(torch.tensor([0, 1]))
        old = replace(old, scores=torch.tensor([[0.0, -float("inf"), -float("inf")]]).expand(2, 3))
        old = replace(old, labels=torch.zeros(2, 3, 0, dtype=torch.int64), lengths=torch.zeros(2, 3, dtype=torch.int64))
        old = replace(old, ended=torch.zeros(2, 3, dtype=torch.bool))
        found, _ = _extend(old, logits.float(), 1, 4, extra)
        sums = logits[:, 0].log_softmax(-1) + (0.0 if extra is None else extra[:, 0].double())
        expected = sums.topk(4)
        assert torch.equal(found.labels[..., -1], expected.indices)
        torch.testing.assert_close(found.scores.double(), expected.values, rtol=1e-5, atol=1e-5)


def test_finished_utterances_leave_the_batch_and_nothing_else_changes() -> None:
    limits = [2, 30, 3, 12, 2, 2, 7, 30]
    scorer, table = automaton(3, batch=8, vocabulary=9, eos_bias=-4.0)
    together = search(scorer, table, limits, 4)
    assert scorer.batch_sizes[0] == 8
    assert scorer.batch_sizes[-1] <= 2
    for utterance, limit in enumerate(limits):
        alone = search(scorer, table.select(torch.tensor([utterance])), [limit], 4)
        assert together.hypotheses(utterance) == alone.hypotheses(0)


def test_labels_repeat_freely() -> None:
    logits = torch.full((1, 1, 3), -20.0)
    logits[..., 1] = 0.0
    scorer = Automaton(torch.zeros(1, 3, dtype=torch.int64))
    best = search(scorer, Table(logits), [5], beam=2).hypotheses(0)[0]
    assert best.labels == (1, 1, 1, 1)  # the limit takes the fifth label away


def test_a_hypothesis_that_is_only_eos_has_no_labels() -> None:
    logits = torch.tensor([[[10.0, 0.0, 0.0]]])
    scorer = Automaton(torch.zeros(1, 3, dtype=torch.int64))
    found = search(scorer, Table(logits), [4], beam=1)
    assert found.steps == 1
    assert found.hypotheses(0)[0].labels == ()
    assert found.scores[0, 0].item() == pytest.approx(10.0 - math.log(math.exp(10.0) + 2.0), abs=1e-6)


def test_reference_scores_rank_alike_and_depend_on_the_steps() -> None:
    scorer, table = automaton(5, batch=2, vocabulary=6)
    found = search(scorer, table, [6, 6], beam=5)
    scaled = reference_scores(found, 1.0)
    assert torch.equal(scaled.argsort(dim=1, descending=True, stable=True), torch.arange(5).expand(2, 5))
    torch.testing.assert_close(scaled, found.scores * (found.steps - 1) / found.steps)
