"""What a search returns.  B batch, K beam, U labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from aedo.conventions import EOS


class Hypothesis(NamedTuple):
    labels: tuple[int, ...]
    """Without EOS."""
    score: float
    """Natural logarithm; each search says of what."""


@dataclass(frozen=True)
class NBest:
    """Hypotheses of a batch, the best first.  All tensors are on the CPU."""

    labels: Tensor
    """[B, K, U] int64, as selected: EOS and what the search put behind it included."""
    lengths: Tensor
    """[B, K] int64: how many of them count."""
    scores: Tensor
    """[B, K] float32; minus infinity where an utterance has fewer than K hypotheses."""
    steps: int
    """How many steps the search took for the whole batch."""

    def hypotheses(self, utterance: int) -> tuple[Hypothesis, ...]:
        """Of one utterance, the best first."""
        found = zip(
            self.labels[utterance].tolist(),
            self.lengths[utterance].tolist(),
            self.scores[utterance].tolist(),
            strict=True,
        )
        return tuple(Hypothesis(tuple(ids[:length]), score) for ids, length, score in found if score > float("-inf"))


def ranked(labels: Tensor, lengths: Tensor, scores: Tensor, steps: int) -> NBest:
    """The best first: labels [B, K, U], lengths and scores [B, K], on any device; EOS behind the end."""
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    lengths = lengths.gather(1, order)
    labels = labels.gather(1, order[..., None].expand_as(labels))
    behind = torch.arange(labels.shape[-1], device=labels.device) >= lengths[..., None]
    return NBest(labels.masked_fill(behind, EOS).cpu(), lengths.cpu(), scores.float().cpu(), steps)


def joined(parts: list[NBest], places: list[Tensor]) -> NBest:
    """One batch of parts of it; places [R]: which utterances of the batch those of each part are."""
    batch, beam = sum(map(len, places)), max((part.scores.shape[1] for part in parts), default=0)
    longest = max((part.labels.shape[-1] for part in parts), default=0)
    labels = torch.full((batch, beam, longest), EOS)
    lengths = torch.zeros(batch, beam, dtype=torch.int64)
    scores = torch.full((batch, beam), float("-inf"))
    for part, rows in zip(parts, places, strict=True):
        _, width, count = part.labels.shape
        labels[rows, :width, :count] = part.labels
        lengths[rows, :width] = part.lengths
        scores[rows, :width] = part.scores
    return NBest(labels, lengths, scores, max((part.steps for part in parts), default=0))
