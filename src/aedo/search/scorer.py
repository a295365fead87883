"""What a search needs of models of label sequences, and how several of them make one score.

B batch, R utterances still searched, K hypotheses, T frames, V labels.

`Scorer` is what every decoder is: logits, for the search by attention alone.  `LabelScorer` is what the joint searches
add up: anything that scores the next label of every hypothesis by the labels so far (decoder, language model, rewards).
To write one: a state with `gather` and `put` (`Stateless` where there is none), and `start`, `step`, `select`.
The CTC prefix score looks at frames and belongs to the searches themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.model.decoder import DecoderMemory, DecoderState, M, S
from aedo.search.attention_rewards import AttentionReward

__all__ = ["LabelScorer", "M", "OfDecoder", "PerLabel", "S", "Scorer", "Stateless", "Weighted"]

M_contra = TypeVar("M_contra", bound=DecoderMemory, contravariant=True)
L = TypeVar("L", bound="LabelScorer")
X = TypeVar("X", bound="LabelState")


class Scorer(Protocol[M_contra, S]):
    """Scores every possible next label of every hypothesis."""

    def start(self, memory: M_contra) -> S:
        """One empty hypothesis per utterance: K = 1."""
        ...

    def step(self, memory: M_contra, labels: Tensor | None, state: S) -> tuple[Tensor, S]:
        """One label further: labels [B, K] (None at the start) -> (logits [B, K, V], next state).

        The logits are the caller's, who may overwrite them.
        """
        ...


class LabelState(Protocol):
    """What a scorer keeps of the labels so far, for every hypothesis."""

    def gather(self: X, rows: Tensor, back: Tensor) -> X:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        ...

    def put(self: X, columns: Tensor, new: X, taken: Tensor) -> X:
        """With the hypotheses of `new` [R, K'] in the places `columns` [R, K'] where `taken` [R, K'] bool."""
        ...


class LabelScorer(Protocol):
    """log p(next label | labels so far), or anything to be added to it, for one batch of utterances."""

    def start(self) -> Any:
        """The state of one empty hypothesis per utterance: K = 1."""
        ...

    def step(self, labels: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """One label further: labels [R, K] (None at the start) -> (scores of the next one [R, K, V], next state).

        EOS is one of the V.  The scores may have size 1 where they are the same for all.  Hypotheses of one batch may
        have different numbers of labels.
        """
        ...

    def select(self: L, rows: Tensor) -> L:
        """For the utterances `rows` ([R] int64)."""
        ...


@dataclass(frozen=True)
class Stateless:
    """The state of what looks at no labels."""

    def gather(self, rows: Tensor, back: Tensor) -> Stateless:
        return self

    def put(self, columns: Tensor, new: Stateless, taken: Tensor) -> Stateless:
        return self


@dataclass(frozen=True)
class PerLabel:
    """A number for each label, whatever came before: a reward for length, a prior to be taken off."""

    values: Tensor
    """[V]."""

    @classmethod
    def length(cls, vocabulary: int, device: torch.device) -> PerLabel:
        """One for every label but EOS."""
        values = torch.ones(vocabulary, device=device)
        values[EOS] = 0.0
        return cls(values)

    @classmethod
    def nothing(cls, vocabulary: int, device: torch.device) -> PerLabel:
        """Where only CTC has a say."""
        return cls(torch.zeros(vocabulary, device=device))

    def start(self) -> Stateless:
        return Stateless()

    def step(self, labels: Tensor | None, state: Stateless) -> tuple[Tensor, Stateless]:
        return self.values[None, None], state

    def select(self, rows: Tensor) -> PerLabel:
        return self


@dataclass(frozen=True)
class _DecoderState:
    decoder: Any
    rewards: tuple[Any, ...]

    def gather(self, rows: Tensor, back: Tensor) -> _DecoderState:
        return _DecoderState(self.decoder.gather(rows, back), tuple(r.gather(rows, back) for r in self.rewards))

    def put(self, columns: Tensor, new: _DecoderState, taken: Tensor) -> _DecoderState:
        rewards = tuple(old.put(columns, one, taken) for old, one in zip(self.rewards, new.rewards, strict=True))
        return _DecoderState(self.decoder.put(columns, new.decoder, taken), rewards)


@dataclass(frozen=True)
class OfDecoder:
    """The log probabilities of a decoder, with rewards on where it looks."""

    decoder: Scorer[Any, Any]
    memory: Any
    rewards: tuple[tuple[float, AttentionReward], ...] = ()
    """Each with its scale, relative to the decoder's log probability."""
    score_eos: bool = True
    """Without: EOS scores 0.  An internal language model has no say in where an utterance ends."""

    def start(self) -> _DecoderState:
        state: DecoderState = self.decoder.start(self.memory)
        return _DecoderState(state, tuple(reward.start(self.memory.mask) for _, reward in self.rewards))

    def step(self, labels: Tensor | None, state: _DecoderState) -> tuple[Tensor, _DecoderState]:
        logits, following = self.decoder.step(self.memory, labels, state.decoder)
        scores, seen = logits.float().log_softmax(-1), []
        if not self.score_eos:
            scores[..., EOS] = 0.0
        for (scale, reward), before in zip(self.rewards, state.rewards, strict=True):
            value, after = reward.step(following.weights, before)
            scores = scores + scale * value[..., None]
            seen.append(after)
        return scores, _DecoderState(following, tuple(seen))

    def select(self, rows: Tensor) -> OfDecoder:
        return OfDecoder(self.decoder, self.memory.select(rows), self.rewards, self.score_eos)


@dataclass(frozen=True)
class _States:
    parts: tuple[Any, ...]

    def gather(self, rows: Tensor, back: Tensor) -> _States:
        return _States(tuple(part.gather(rows, back) for part in self.parts))

    def put(self, columns: Tensor, new: _States, taken: Tensor) -> _States:
        return _States(tuple(old.put(columns, one, taken) for old, one in zip(self.parts, new.parts, strict=True)))


@dataclass(frozen=True)
class Weighted:
    """The sum of scorers, each times its scale."""

    parts: Sequence[tuple[float, LabelScorer]]

    def start(self) -> _States:
        return _States(tuple(scorer.start() for _, scorer in self.parts))

    def step(self, labels: Tensor | None, state: _States) -> tuple[Tensor, _States]:
        total, states = torch.zeros(()), []
        for (scale, scorer), before in zip(self.parts, state.parts, strict=True):
            scores, after = scorer.step(labels, before)
            total = total.to(scores.device) + scale * scores
            states.append(after)
        return total, _States(tuple(states))

    def select(self, rows: Tensor) -> Weighted:
        return Weighted([(scale, scorer.select(rows)) for scale, scorer in self.parts])
