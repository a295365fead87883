"""What a search needs of a decoder.  B batch, K hypotheses, V labels."""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

M = TypeVar("M", bound="Memory")
S = TypeVar("S", bound="State")
M_contra = TypeVar("M_contra", bound="Memory", contravariant=True)


class Memory(Protocol):
    """What a decoder keeps of the encoder, once per utterance, never repeated per hypothesis."""

    def select(self: M, rows: Tensor) -> M:
        """The utterances at `rows` ([R] int64 on the memory's device)."""
        ...


class State(Protocol):
    """What a decoder keeps of the labels so far, for every hypothesis."""

    def gather(self: S, rows: Tensor, back: Tensor) -> S:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        ...


class Scorer(Protocol[M_contra, S]):
    """Scores every possible next label of every hypothesis."""

    def start(self, memory: M_contra) -> S:
        """One empty hypothesis per utterance: K = 1."""
        ...

    def step(self, memory: M_contra, labels: Tensor | None, state: S) -> tuple[Tensor, S]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state)."""
        ...
