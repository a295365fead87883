"""What frames of a chunk see of the chunks before it: all at once, or chunk by chunk with the past carried along.

W chunks, C frames of a chunk, K of them kept, N chunks seen before one's own, X features.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Past(Protocol):
    """The past of the chunks that a module is given."""

    @property
    def seen(self) -> Tensor:
        """[W, N K] bool: which of the frames before there are to see."""
        ...

    @property
    def first(self) -> int:
        """Where the chunk's first frame stands among N K frames before and C own ones, for relative positions."""
        ...

    def before(self, own: Tensor) -> Tensor:
        """Any values of the chunks' frames [W, C, X] -> those of the frames before [W, N K, X], oldest first.

        Zero where there was no chunk.  Every module calls it once a pass, all of them in the same order.
        """
        ...


class AllAtOnce:
    """All chunks of all utterances are there: the past of one is the chunks in front of it."""

    def __init__(self, numbers: Tensor, kept: int, history: int, first: int, *, unmasked: bool) -> None:
        """numbers [W] int64 on the model's device: of each chunk in its utterance, whose chunks follow each other.

        `unmasked`: chunks that never were are seen as zeros.
        """
        self.kept, self.first = kept, first
        back = torch.arange(history, 0, -1, device=numbers.device)  # [N]
        there = numbers[:, None] >= back  # [W, N]
        self.rows = (torch.arange(len(numbers), device=numbers.device)[:, None] - back).clamp_min(0)
        self.missing = ~there[..., None, None]  # [W, N, 1, 1]
        self.seen = (there | unmasked).repeat_interleave(kept, 1)

    def before(self, own: Tensor) -> Tensor:
        chosen = own[:, : self.kept][self.rows].masked_fill(self.missing, 0.0)  # [W, N, K, X]
        return chosen.flatten(1, 2)


class Carried:
    """One chunk of every stream is there; what earlier ones left is carried from call to call."""

    def __init__(
        self, left: tuple[Tensor, ...], chunks: Tensor, kept: int, history: int, first: int, *, unmasked: bool
    ):
        """left: `following` after the chunk before (nothing at the start); chunks [W]: how many came before."""
        self.kept, self.frames, self.first = kept, history * kept, first
        back = torch.arange(history, 0, -1, device=chunks.device)
        self.seen = ((chunks[:, None] >= back) | unmasked).repeat_interleave(kept, 1)
        self._left, self._following = left, list[Tensor]()

    def before(self, own: Tensor) -> Tensor:
        number = len(self._following)
        before = self._left[number] if self._left else own.new_zeros(len(own), self.frames, own.shape[2])
        self._following.append(torch.cat([before, own[:, : self.kept]], 1)[:, self.kept :])
        return before

    @property
    def following(self) -> tuple[Tensor, ...]:
        """What the next chunk needs, [W, N K, X] of every module."""
        return tuple(self._following)


def with_past(before: Tensor, own: Tensor) -> Tensor:
    """[W, N K, X], [W, C, X] -> [W, N K + C, X]."""
    return torch.cat([before.to(own.dtype), own], 1)


def past_mask(past: Past, mask: Tensor) -> Tensor:
    """mask [W, C] of the chunk's valid frames -> [W, N K + C]."""
    return torch.cat([past.seen, mask], 1)


__all__ = ["AllAtOnce", "Carried", "Past", "past_mask", "with_past"]
