"""What every decoder gives to the losses and to the search.

B batch, K hypotheses, T frames, V labels of the vocabulary, N packed labels.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from aedo.model.encoder import Encoded
from aedo.model.labels import Labels, Packing

M = TypeVar("M", bound="DecoderMemory")
S = TypeVar("S", bound="DecoderState")


class DecoderOutput(NamedTuple):
    logits: Tensor
    """[N, V], packed."""
    targets: Tensor
    """[N] int64."""
    packing: Packing
    attention: Tensor | None
    """[N, T] attention weights where asked for; of several heads and layers, their mean."""
    auxiliary: dict[int, Tensor] = {}  # noqa: RUF012 (never written to)
    """Logits [N, V] of lower layers with an output layer of their own, by their number counted from 1."""


class DecoderMemory(Protocol):
    """What a decoder keeps of the encoder, once per utterance, never repeated per hypothesis."""

    def select(self: M, rows: Tensor) -> M:
        """The utterances at `rows` ([R] int64 on the memory's device)."""
        ...


class DecoderState(Protocol):
    """What a decoder keeps of the labels so far, for every hypothesis."""

    def gather(self: S, rows: Tensor, back: Tensor) -> S:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        ...

    def put(self: S, columns: Tensor, new: S, taken: Tensor) -> S:
        """With the hypotheses of `new` [B, K'] in the places `columns` [B, K'] where `taken` [B, K'] bool.

        The columns of one utterance are different ones.  `new` may have seen more or fewer labels.
        """
        ...


def placed(old: Tensor, columns: Tensor, new: Tensor, taken: Tensor) -> Tensor:
    """old [B, K, ...] with new [B, K', ...] in the places `columns` [B, K'] where `taken` [B, K'] bool."""
    at = (torch.arange(len(old), device=old.device)[:, None], columns)
    result = old.clone()
    result[at] = torch.where(taken.view(*taken.shape, *[1] * (old.dim() - 2)), new, old[at])
    return result


class Decoder(Protocol[M, S]):
    """p(label | labels before, encoder), for all labels at once or label by label."""

    def __call__(self, encoded: Encoded, labels: Labels, *, keep_attention: bool = False) -> DecoderOutput:
        """Teacher-forced logits of `labels` (EOS included)."""
        ...

    def memory(self, encoded: Encoded) -> M:
        """Everything that does not depend on the labels."""
        ...

    def start(self, memory: M) -> S:
        """One empty hypothesis per utterance: K = 1."""
        ...

    def step(self, memory: M, labels: Tensor | None, state: S) -> tuple[Tensor, S]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state)."""
        ...
