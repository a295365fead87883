"""A decoder small enough to try every sequence: a random automaton whose state decides about the next label."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.model.decoder import placed
from aedo.search.hypotheses import Hypothesis


@dataclass(frozen=True)
class Table:
    logits: Tensor
    """[B, states, V]: each utterance has its own probabilities."""

    def select(self, rows: Tensor) -> Table:
        return Table(self.logits[rows])


@dataclass(frozen=True)
class At:
    states: Tensor
    """[B, K]."""

    def gather(self, rows: Tensor, back: Tensor) -> At:
        return At(self.states[rows[:, None], back])

    def put(self, columns: Tensor, new: At, taken: Tensor) -> At:
        return At(placed(self.states, columns, new.states, taken))


@dataclass
class Automaton:
    """`following` [states, V]: the state after each label."""

    following: Tensor
    batch_sizes: list[int] = field(default_factory=list)
    """How many utterances every step got."""

    def start(self, memory: Table) -> At:
        return At(torch.zeros(len(memory.logits), 1, dtype=torch.int64))

    def step(self, memory: Table, labels: Tensor | None, state: At) -> tuple[Tensor, At]:
        states = state.states if labels is None else self.following[state.states, labels]
        self.batch_sizes.append(len(states))
        return memory.logits[torch.arange(len(states))[:, None], states], At(states)


def automaton(
    seed: int, *, batch: int, vocabulary: int, longest: int = 30, eos_bias: float = 0.0
) -> tuple[Automaton, Table]:
    """Seven states for each position up to `longest`: without the positions, reordered labels would often tie."""
    generator = torch.Generator().manual_seed(seed)
    states = 7 * (longest + 1)
    position = torch.arange(states)[:, None] // 7
    following = torch.randint(7, (states, vocabulary), generator=generator) + 7 * (position + 1).clamp(max=longest)
    logits = 1.5 * torch.randn(batch, states, vocabulary, generator=generator)
    logits[..., EOS] += eos_bias
    return Automaton(following), Table(logits)


def log_prob(scorer: Automaton, table: Table, utterance: int, labels: tuple[int, ...]) -> float:
    state, total = 0, 0.0
    for label in labels:
        total += table.logits[utterance, state].double().log_softmax(-1)[label].item()
        state = int(scorer.following[state, label])
    return total


def every_hypothesis(scorer: Automaton, table: Table, utterance: int, limit: int, exponent: float) -> list[Hypothesis]:
    """All complete sequences and all that the limit cuts off, under the stated score, the best first."""
    vocabulary = table.logits.shape[-1]
    selected = [
        (*labels, EOS) for n in range(limit) for labels in itertools.product(range(1, vocabulary), repeat=n)
    ] + list(itertools.product(range(1, vocabulary), repeat=limit))
    found = []
    for labels in selected:
        score = log_prob(scorer, table, utterance, labels) / max(len(labels) - 1, 1) ** exponent
        found.append(Hypothesis(labels[:-1], score))
    return sorted(found, key=lambda h: -h.score)


def plain_search(
    scorer: Automaton, table: Table, utterance: int, limit: int, beam: int, exponent: float
) -> list[Hypothesis]:
    """The same search for one utterance, hypothesis by hypothesis in lists, as the rules read."""
    running: list[tuple[float, tuple[int, ...], int]] = [(0.0, (), 0)]
    ended: list[tuple[float, tuple[int, ...]]] = []
    for step in range(1, limit + 1):
        scale = max(step - 1, 1) ** exponent
        candidates: list[tuple[float, tuple[int, ...], int | None]] = [(s * scale, y, None) for s, y in ended]
        for score, labels, state in running:
            for label, value in enumerate(table.logits[utterance, state].double().log_softmax(-1).tolist()):
                candidates.append((score + value, (*labels, label), int(scorer.following[state, label])))
        candidates = sorted(candidates, key=lambda c: -c[0])[:beam]
        stays = [c for c in candidates if c[2] is not None and c[1][-1] != EOS and step < limit]
        ended = [
            (s / scale, y if state is None else y[:-1]) for s, y, state in candidates if (s, y, state) not in stays
        ]
        running = [(s, y, state) for s, y, state in stays if state is not None]
        if not running:
            break
    return [Hypothesis(y, s) for s, y in sorted(ended, key=lambda e: -e[0])]
