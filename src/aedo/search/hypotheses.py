"""What a search returns.  B batch, K beam, U labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


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
