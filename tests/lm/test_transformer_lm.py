from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from aedo.lm.transformer_lm import TransformerLM, TransformerLmConfig
from aedo.model.labels import Labels
from aedo.search.advance import advance
from aedo.search.scorer import LabelScorer
from tests.lm.toy import CPU, some_labels, transformer_lm


def whole(model: TransformerLM, labels: Labels) -> Tensor:
    """[B, U, V] log probabilities, all at once."""
    return model.read_out(model.layer_outputs(labels.ids)[-1]).log_softmax(-1)


@torch.no_grad()
def test_step_by_step_equals_all_at_once() -> None:
    model, labels = transformer_lm(), some_labels(7, [5, 2, 0])
    expected = whole(model, labels)
    scorer = model.scorer(3, CPU)
    scores, state = scorer.step(None, scorer.start())
    for position, column in enumerate(labels.ids.T):
        torch.testing.assert_close(scores[:, 0], expected[:, position], atol=1e-5, rtol=0)
        scores, state = scorer.step(column[:, None], state)


@torch.no_grad()
def test_hypotheses_with_different_numbers_of_labels_keep_their_histories() -> None:
    """Some of a batch's hypotheses move on, the others wait, as in a search along the frames."""
    model = transformer_lm()
    scorer: LabelScorer = model.scorer(2, CPU)
    scores, state = scorer.step(None, scorer.start())
    histories: list[list[list[int]]] = [[[] for _ in range(3)] for _ in range(2)]
    rows, places = torch.arange(2), torch.zeros(2, 3, dtype=torch.int64)
    state, scores = state.gather(rows, places), scores.expand(2, 3, 7)
    generator = torch.Generator().manual_seed(1)
    for _ in range(8):
        back = torch.randint(3, (2, 3), generator=generator)
        state, scores = state.gather(rows, back), scores[rows[:, None], back]
        histories = [[list(histories[r][b]) for b in back[r].tolist()] for r in range(2)]
        new = torch.rand(2, 3, generator=generator) < 0.4
        labels = torch.randint(1, 7, (2, 3), generator=generator)
        scores, state = advance(scorer, scores, state, labels, new, int(new.sum(1).max()))
        for r in range(2):
            for k in range(3):
                if new[r, k]:
                    histories[r][k].append(int(labels[r, k]))
    assert len({len(history) for row in histories for history in row}) > 1
    for r in range(2):
        for k, history in enumerate(histories[r]):
            ids = torch.tensor([[*history, 0]])
            expected = whole(model, Labels(ids, torch.tensor([len(history) + 1])))[0, -1]
            torch.testing.assert_close(scores[r, k], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_utterances_that_leave_take_nothing_along() -> None:
    scorer = transformer_lm().scorer(3, CPU)
    _, state = scorer.step(None, scorer.start())
    labels = torch.tensor([[1], [2], [3]])
    together, _ = scorer.step(labels, state)
    rows = torch.tensor([2, 0])
    left = scorer.select(rows)
    assert left.start().weights.shape[0] == 2
    alone, _ = left.step(labels[rows], state.gather(rows, torch.zeros(2, 1, dtype=torch.int64)))
    torch.testing.assert_close(alone, together[rows])


def test_log_probs_of_sentences_do_not_depend_on_the_batch() -> None:
    model, labels = transformer_lm(), some_labels(7, [5, 0, 3])
    together = model.log_probs(labels)
    for row, length in enumerate(labels.lengths.tolist()):
        one = Labels(labels.ids[row : row + 1, :length], labels.lengths[row : row + 1])
        torch.testing.assert_close(model.log_probs(one)[0], together[row])


def test_a_wrong_width_is_refused() -> None:
    with pytest.raises(ValidationError, match="dim 18 does not give 2 heads of even size"):
        TransformerLmConfig(dim=18, heads=2)


def test_dropout_acts_in_training_only() -> None:
    config = TransformerLmConfig.model_validate({"layers": 1, "dim": 8, "heads": 2, "dropout": {"rate": 0.5}})
    model, labels = config.build(7), some_labels(7, [4])
    assert not torch.equal(model(labels).logits, model(labels).logits)
    model.eval()
    assert torch.equal(model(labels).logits, model(labels).logits)
