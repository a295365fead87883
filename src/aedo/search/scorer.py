"""What a search needs of a model of label sequences; every decoder has it.  B batch, K hypotheses, V labels."""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

from aedo.model.decoder import DecoderMemory, M, S

__all__ = ["M", "S", "Scorer"]

M_contra = TypeVar("M_contra", bound=DecoderMemory, contravariant=True)


class Scorer(Protocol[M_contra, S]):
    """Scores every possible next label of every hypothesis."""

    def start(self, memory: M_contra) -> S:
        """One empty hypothesis per utterance: K = 1."""
        ...

    def step(self, memory: M_contra, labels: Tensor | None, state: S) -> tuple[Tensor, S]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state)."""
        ...
