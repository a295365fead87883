"""Rewards for a decoder that looks at all of the audio, and at it in order.  B batch, K hypotheses, T frames.

Each is a number per step, from the attention weights of that step; their sum over the steps is what is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from aedo.model.decoder import placed

CoverageKind = Literal["log1p", "indicator", "excess"]


@dataclass(frozen=True)
class Looked:
    """What a reward remembers of the steps before."""

    seen: Tensor
    """[B, K, ...]."""
    total: Tensor
    """[B, K]."""

    def gather(self, rows: Tensor, back: Tensor) -> Looked:
        at = (rows[:, None], back)
        return Looked(self.seen[at], self.total[at])

    def put(self, columns: Tensor, new: Looked, taken: Tensor) -> Looked:
        return Looked(placed(self.seen, columns, new.seen, taken), placed(self.total, columns, new.total, taken))


class AttentionReward(Protocol):
    def start(self, mask: Tensor) -> Looked:
        """mask [B, T] bool: frames that exist -> one empty hypothesis per utterance."""
        ...

    def step(self, weights: Tensor, before: Looked) -> tuple[Tensor, Looked]:
        """Attention weights [B, K, T] of this step -> (what it adds [B, K], state)."""
        ...


@dataclass(frozen=True)
class Coverage:
    """How much of the audio the attention has covered; A_t is the sum of the weights on frame t over the steps.

    log1p: sum over t of ln(1 + min(A_t, 1)); indicator: how many A_t reach `threshold`; excess: sum of what A_t has
    above `threshold`, which a search wants little of: give it a negative scale.  Source: Wu et al. 2016 (their log),
    Chorowski and Jaitly 2017 (indicator).
    """

    kind: CoverageKind = "log1p"
    threshold: float = 0.5

    def start(self, mask: Tensor) -> Looked:
        seen = mask.new_zeros(len(mask), 1, mask.shape[1], dtype=torch.float32)
        return Looked(seen, self._value(seen))

    def step(self, weights: Tensor, before: Looked) -> tuple[Tensor, Looked]:
        seen = before.seen + weights.float()
        total = self._value(seen)
        return total - before.total, Looked(seen, total)

    def _value(self, seen: Tensor) -> Tensor:
        """[B, K, T] -> [B, K].  Frames of the padding have no weight and count nothing."""
        if self.kind == "log1p":
            return seen.clamp(max=1.0).log1p().sum(-1)
        if self.kind == "indicator":
            return (seen >= self.threshold).float().sum(-1)
        return (seen - self.threshold).clamp_min(0.0).sum(-1)


@dataclass(frozen=True)
class Monotonicity:
    """Minus the frames by which the centre of the attention falls short of moving forward by `advance` at each step.

    The first step, which moves from nowhere, is free.  The reference has the sign of the movement the other way round,
    and so punishes moving forward.
    """

    advance: float = 1.0

    def start(self, mask: Tensor) -> Looked:
        nowhere = torch.full((len(mask), 1), float("-inf"), device=mask.device)
        return Looked(nowhere, torch.zeros_like(nowhere))

    def step(self, weights: Tensor, before: Looked) -> tuple[Tensor, Looked]:
        frames = torch.arange(weights.shape[-1], device=weights.device, dtype=torch.float32)
        centre = weights.float() @ frames  # [B, K]
        value = (centre - before.seen - self.advance).clamp(max=0.0)
        return value, Looked(centre, before.total + value)
