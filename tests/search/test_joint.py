"""Both joint searches against all label sequences, and against themselves in other batches."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Literal

import pytest
import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.search.ctc_prefix import CtcPrefix
from aedo.search.frames import Frames
from aedo.search.hypotheses import NBest
from aedo.search.joint import label_search
from aedo.search.joint_time import prefix_search
from aedo.search.scorer import LabelScorer, OfDecoder, PerLabel, Weighted
from tests.search.toy import Automaton, Table, automaton, log_prob

VOCABULARY = 4  # EOS and three labels
BLANK = VOCABULARY
LENGTHS = [4, 1, 3, 5]
EVERYTHING = 1400  # more than there are sequences of up to five labels, or continuations of them
REWARD = 0.4


def frames_of(seed: int, lengths: list[int]) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (2 * torch.randn(len(lengths), max(lengths), BLANK + 1, generator=generator)).log_softmax(-1)
    return Frames.of(log_probs, torch.tensor(lengths))


def toy(seed: int, batch: int) -> tuple[Automaton, Table, LabelScorer]:
    decoder, table = automaton(seed, batch=batch, vocabulary=VOCABULARY, longest=8)
    reward = PerLabel.length(VOCABULARY, torch.device("cpu"))
    return decoder, table, Weighted([(0.7, OfDecoder(decoder, table)), (REWARD, reward)])


def ctc_scores(log_probs: Tensor, scale: float, recombination: Literal["max", "sum"]) -> dict[tuple[int, ...], float]:
    """By labels, over all paths of the frames [T, V + 1], EOS aside."""
    paths = defaultdict(list)
    for path in itertools.product(range(1, BLANK + 1), repeat=len(log_probs)):
        labels = tuple(label for label, _ in itertools.groupby(path) if label != BLANK)
        paths[labels].append(scale * sum(log_probs[t, symbol].item() for t, symbol in enumerate(path)))
    combine = max if recombination == "max" else (lambda x: torch.tensor(x).double().logsumexp(0).item())
    return {labels: combine(scores) for labels, scores in paths.items()}


def expected(
    decoder: Automaton, table: Table, utterance: int, ctc: dict[tuple[int, ...], float]
) -> list[tuple[tuple[int, ...], float]]:
    scores = {
        labels: score + 0.7 * log_prob(decoder, table, utterance, (*labels, EOS)) + REWARD * len(labels)
        for labels, score in ctc.items()
    }
    return sorted(scores.items(), key=lambda item: -item[1])


def assert_lists(found: NBest, utterance: int, wanted: list[tuple[tuple[int, ...], float]]) -> None:
    hypotheses = found.hypotheses(utterance)
    assert [h.labels for h in hypotheses] == [labels for labels, _ in wanted]
    assert [h.score for h in hypotheses] == pytest.approx([score for _, score in wanted], abs=2e-5)


@pytest.mark.parametrize("recombination", ["max", "sum"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_with_room_for_everything_the_time_synchronous_search_is_exhaustive(
    recombination: Literal["max", "sum"], scale: float
) -> None:
    frames, (decoder, table, scorer) = frames_of(1, LENGTHS), toy(2, len(LENGTHS))
    found = prefix_search(frames, scorer, beam=EVERYTHING, ctc_scale=scale, recombination=recombination)
    for utterance, length in enumerate(LENGTHS):
        ctc = ctc_scores(frames.log_probs[utterance, :length], scale, recombination)
        assert_lists(found, utterance, expected(decoder, table, utterance, ctc))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_with_room_for_everything_the_label_synchronous_search_is_exhaustive(scale: float) -> None:
    frames, (decoder, table, scorer) = frames_of(3, LENGTHS), toy(4, len(LENGTHS))
    found = label_search(scorer, CtcPrefix.of(frames), frames.lengths, beam=EVERYTHING, ctc_scale=scale)
    for utterance, length in enumerate(LENGTHS):
        ctc = ctc_scores(frames.log_probs[utterance, :length], 1.0, "sum")
        ctc = {labels: scale * score for labels, score in ctc.items()}
        assert_lists(found, utterance, expected(decoder, table, utterance, ctc))


def test_stopping_early_keeps_the_best() -> None:
    for seed in range(20):
        frames, (_, _, scorer) = frames_of(seed, LENGTHS), toy(seed, len(LENGTHS))
        whole = label_search(scorer, CtcPrefix.of(frames), frames.lengths, beam=EVERYTHING, ctc_scale=0.5)
        early = label_search(
            scorer, CtcPrefix.of(frames), frames.lengths, beam=EVERYTHING, ctc_scale=0.5, most=REWARD, whole_beam=False
        )
        for utterance in range(len(LENGTHS)):
            assert early.hypotheses(utterance)[0] == whole.hypotheses(utterance)[0]


def test_without_scorers_it_is_ctc_prefix_beam_search() -> None:
    frames = frames_of(5, LENGTHS)
    found = prefix_search(frames, None, beam=EVERYTHING)
    for utterance, length in enumerate(LENGTHS):
        ctc = ctc_scores(frames.log_probs[utterance, :length], 1.0, "sum")
        assert_lists(found, utterance, sorted(ctc.items(), key=lambda item: -item[1]))


@pytest.mark.parametrize("beam", [1, 3, 8])
def test_the_batch_changes_nothing(beam: int) -> None:
    lengths = [30, 2, 17, 9, 1, 30, 4]
    frames, (_, _, scorer) = frames_of(6, lengths), toy(7, len(lengths))
    ctc = CtcPrefix.of(frames)
    together = (
        prefix_search(frames, scorer, beam=beam, ctc_scale=0.6),
        prefix_search(frames, scorer, beam=beam, ctc_scale=0.6, symbols=2, prune=6.0),
        label_search(scorer, ctc, frames.lengths, beam=beam, ctc_scale=0.6, labels=2),
        label_search(scorer, ctc, frames.lengths, beam=beam, ctc_scale=0.6, most=REWARD, whole_beam=False),
    )
    for utterance, length in enumerate(lengths):
        row = torch.tensor([utterance])
        one = Frames.of(frames.log_probs[row, :length], torch.tensor([length]))
        alone = (
            prefix_search(one, scorer.select(row), beam=beam, ctc_scale=0.6),
            prefix_search(one, scorer.select(row), beam=beam, ctc_scale=0.6, symbols=2, prune=6.0),
            label_search(scorer.select(row), CtcPrefix.of(one), one.lengths, beam=beam, ctc_scale=0.6, labels=2),
            label_search(
                scorer.select(row),
                CtcPrefix.of(one),
                one.lengths,
                beam=beam,
                ctc_scale=0.6,
                most=REWARD,
                whole_beam=False,
            ),
        )
        for batched, single in zip(together, alone, strict=True):
            assert [h.labels for h in batched.hypotheses(utterance)] == [h.labels for h in single.hypotheses(0)]
            assert [h.score for h in batched.hypotheses(utterance)] == pytest.approx(
                [h.score for h in single.hypotheses(0)], abs=1e-4
            )


def test_blanks_left_out_part_repeated_labels_and_keep_their_scores() -> None:
    probabilities = torch.full((1, 5, BLANK + 1), 1e-7)
    for frame, symbol in enumerate([1, BLANK, 1, BLANK, BLANK]):
        probabilities[0, frame, symbol] = 0.999
    log_probs = (probabilities / probabilities.sum(-1, keepdim=True)).log()
    frames = Frames.of(log_probs, torch.tensor([5]), skip_blank=0.99)
    assert frames.lengths.tolist() == [2]
    best, whole = (
        prefix_search(one, None, beam=4, recombination="max").hypotheses(0)[0]
        for one in (frames, Frames.of(log_probs, torch.tensor([5])))
    )
    assert best.labels == whole.labels == (1, 1)
    assert best.score == pytest.approx(whole.score, abs=1e-5)


def test_no_ctc_scale_is_no_ctc() -> None:
    decoder, table, _ = toy(8, 2)
    scorer = OfDecoder(decoder, table)
    found = label_search(scorer, None, torch.tensor([3, 2]), beam=EVERYTHING, ctc_scale=0.0)
    for utterance, limit in enumerate([3, 2]):
        best = max(
            (log_prob(decoder, table, utterance, (*labels, EOS)), labels)
            for n in range(limit + 1)
            for labels in itertools.product(range(1, VOCABULARY), repeat=n)
        )
        assert found.hypotheses(utterance)[0].labels == best[1]
        assert math.isclose(found.hypotheses(utterance)[0].score, best[0], abs_tol=1e-5)
