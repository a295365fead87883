"""Moving some hypotheses of a batch one label further.  R utterances, K hypotheses, V labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aedo.model.decoder import placed
from aedo.search.scorer import LabelScorer


def advance(
    scorer: LabelScorer, scores: Tensor, state: Any, labels: Tensor, new: Tensor, count: int
) -> tuple[Tensor, Any]:
    """Scores of the next label [R, K, V] and state, both of hypotheses without their newest label, brought up to date.

    labels [R, K]: the newest ones; new [R, K] bool: which hypotheses have one, at most `count` of an utterance.  Only
    as many places as that go through the scorer.
    """
    if count == 0:
        return scores, state
    columns = new.long().argsort(dim=1, descending=True, stable=True)[:, :count]
    taken = new.gather(1, columns)
    rows = torch.arange(len(new), device=new.device)
    fresh, moved = scorer.step(labels.gather(1, columns), state.gather(rows, columns))
    fresh = fresh.expand(*columns.shape, scores.shape[-1])
    return placed(scores, columns, fresh, taken), state.put(columns, moved, taken)
