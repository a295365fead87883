"""Phrases to be heard more readily: an automaton over labels that rewards them, compiled into tensors.

B batch, R utterances, K hypotheses, V labels of the vocabulary, S states, D exceptions of a state.

A phrase is heard where its labels follow each other from the beginning of a word to the end of one.  The reward of a
hypothesis is

    bias x (labels of all phrases heard, each time anew + labels of the phrase now begun)

of several phrases begun the longest: a label of a phrase is rewarded as it comes, and what a phrase got is taken back
where it breaks off.  A phrase within another one counts as well.  A state is the longest piece of the hypothesis that
begins a phrase, so that a step is a look into a few tables, whatever the number of phrases.

Source: Aho and Corasick 1975; in beam search: Zhao et al. 2019 (shallow fusion of contextual phrases).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.data.text import Tokenizer
from aedo.errors import UserError
from aedo.model.decoder import placed

_CLOSED, _OPEN = 0, 1
"""States with nothing begun: inside a word, and where a word may begin."""
_ROOTS = (_CLOSED, _OPEN)


@dataclass(frozen=True)
class Boundaries:
    """Where words begin and end: between two labels if the second starts a word or the first ends one."""

    starts: Tensor
    """[V] bool."""
    ends: Tensor
    """[V] bool."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Boundaries:
        """By what the tokenizer makes of every label between two that are words, or pieces of them."""
        sample = next((i for i in range(2, tokenizer.size) if _letters(tokenizer, i)), None)
        if sample is None:
            raise UserError("the tokenizer has no label with a letter: it cannot spell context phrases")
        starts, ends = torch.ones(2, tokenizer.size, dtype=torch.bool)
        glue = _glue(tokenizer, sample)
        for label in range(tokenizer.size):
            if label != EOS:
                starts[label], ends[label] = _parted(tokenizer, glue, label), _parted(tokenizer, label, glue)
        return cls(starts, ends)

    def between(self, first: int, second: int) -> bool:
        return bool(self.ends[first] or self.starts[second])


def _letters(tokenizer: Tokenizer, label: int) -> bool:
    return any(map(str.isalnum, tokenizer.decode([label])))


def _glue(tokenizer: Tokenizer, sample: int) -> int:
    """A label with letters that may stand within a word on both sides, if there is one: it parts nothing by itself."""
    for label in range(2, tokenizer.size):
        if _letters(tokenizer, label) and len(tokenizer.decode([label, label]).split()) == 1:
            return label
    return sample


def _parted(tokenizer: Tokenizer, first: int, second: int) -> bool:
    """Whether what both labels stand for is not one word."""
    texts = [tokenizer.decode([label]) for label in (first, second)]
    return not all(texts) or tokenizer.decode([first, second]).split() != ["".join(texts)]


@dataclass(frozen=True)
class PhraseAutomaton:
    """Tables of what each label does in each state; exceptions are labels that go on with what is begun."""

    depth: Tensor
    """[S] float32: labels of the phrase now begun."""
    heard: Tensor
    """[S] float32: labels of the phrases that are heard if a word ends here."""
    at_boundary: Tensor
    """[S] bool: whether the last label ends a word, whatever follows."""
    exceptions: Tensor
    """[S, D] int64: labels, -1 behind the end."""
    following: Tensor
    """[S, D] int64: the states they lead to."""
    first: Tensor
    """[V] int64: the state of a phrase's first label behind a boundary; where none begins, one without anything."""
    plain: Tensor
    """[V] int64: the state behind a label that begins nothing."""
    starts: Tensor
    """[V] bool, as in `Boundaries`."""

    def to(self, device: torch.device) -> PhraseAutomaton:
        return PhraseAutomaton(*(tensor.to(device) for tensor in vars(self).values()))

    def after(self, states: Tensor, labels: Tensor) -> Tensor:
        """The state behind each label; states, labels [...]."""
        parted = self.at_boundary[states] | self.starts[labels]
        other = torch.where(parted, self.first[labels], self.plain[labels])
        match = self.exceptions[states] == labels[..., None]  # [..., D], of which at most one holds
        led = (match * self.following[states]).sum(-1)
        return torch.where(match.any(-1), led, other)

    def gains(self, states: Tensor) -> Tensor:
        """What each next label adds, in labels: states [R, K] -> [R, K, V]."""
        begun = self.depth[self.first]  # [V]: 1 where a phrase begins
        behind = torch.stack([torch.where(self.starts, begun, 0.0), begun])  # [2, V]
        open_here = self.at_boundary[states]
        depth, heard = self.depth[states], self.heard[states]
        gains = behind[open_here.long()] - depth[..., None]
        gains += torch.where(open_here[..., None], heard[..., None], heard[..., None] * self.starts)
        labels, led = self.exceptions[states], self.following[states]
        there = labels >= 0
        labels = labels.clamp_min(0)
        parted = open_here[..., None] | self.starts[labels]
        special = self.depth[led] - depth[..., None] + torch.where(parted, heard[..., None], 0.0)
        # Places behind the end point to EOS, which is never an exception: they write there what is there already.
        return gains.scatter(-1, labels, torch.where(there, special, gains[..., EOS, None]))


def compiled(phrases: Sequence[Sequence[int]], boundaries: Boundaries) -> PhraseAutomaton:
    """The automaton of label sequences, none of them empty; a phrase given twice counts once."""
    children: list[dict[int, int]] = [{}, {}]  # of the roots, none: their first labels have a table of their own
    spelled: list[tuple[int, ...]] = [(), ()]
    whole: list[int] = [0, 0]
    nodes: dict[tuple[int, ...], int] = {}
    for phrase in dict.fromkeys(map(tuple, phrases)):
        for count in range(1, len(phrase) + 1):
            prefix = phrase[:count]
            if prefix not in nodes:
                nodes[prefix] = len(spelled)
                spelled.append(prefix)
                children.append({})
                whole.append(0)
                if count > 1:
                    children[nodes[prefix[:-1]]][prefix[-1]] = nodes[prefix]
        whole[nodes[tuple(phrase)]] = len(phrase)
    heard, exceptions = list(whole), [dict(one) for one in children]
    for node in sorted(nodes.values(), key=lambda node: len(spelled[node])):  # what is shorter is finished before
        back = _suffix(spelled[node], nodes, boundaries)
        if back is not None:
            heard[node] += heard[back]
            exceptions[node] = {**exceptions[back], **exceptions[node]}
    firsts = {prefix[0]: node for prefix, node in nodes.items() if len(prefix) == 1}
    return _tables(spelled, heard, exceptions, firsts, boundaries)


def _suffix(labels: tuple[int, ...], nodes: dict[tuple[int, ...], int], boundaries: Boundaries) -> int | None:
    """The longest shorter piece at the end that begins a word and a phrase."""
    for start in range(1, len(labels)):
        if labels[start:] in nodes and boundaries.between(labels[start - 1], labels[start]):
            return nodes[labels[start:]]
    return None


def _tables(
    spelled: Sequence[tuple[int, ...]],
    heard: Sequence[int],
    exceptions: Sequence[dict[int, int]],
    firsts: dict[int, int],
    boundaries: Boundaries,
) -> PhraseAutomaton:
    plain = torch.where(boundaries.ends, _OPEN, _CLOSED)
    first = plain.clone()
    for label, node in firsts.items():
        first[label] = node
    width = max(1, *map(len, exceptions))
    labels, following = torch.full((len(spelled), width), -1), torch.zeros(len(spelled), width, dtype=torch.int64)
    for state, found in enumerate(exceptions):
        labels[state, : len(found)] = torch.tensor(list(found), dtype=torch.int64)
        following[state, : len(found)] = torch.tensor(list(found.values()), dtype=torch.int64)
    at_boundary = [
        state == _OPEN if state in _ROOTS else bool(boundaries.ends[p[-1]]) for state, p in enumerate(spelled)
    ]
    return PhraseAutomaton(
        torch.tensor([float(len(prefix)) for prefix in spelled]),
        torch.tensor([float(count) for count in heard]),
        torch.tensor(at_boundary),
        labels,
        following,
        first,
        plain,
        boundaries.starts,
    )


def phrase_automaton(phrases: Sequence[str], tokenizer: Tokenizer) -> PhraseAutomaton:
    """Of phrases in words.  UserError that names those which the tokenizer cannot spell."""
    texts = [" ".join(phrase.split()) for phrase in phrases]
    spelled = [_spelled(text, tokenizer) for text in texts]
    bad = [text for text, labels in zip(texts, spelled, strict=True) if labels is None]
    if bad:
        raise UserError(
            f"context phrases that the labels of this run cannot spell: {', '.join(map(repr, bad))}; write them as the "
            "texts of its training are written (capitals, digits, punctuation), or leave them out"
        )
    return compiled([labels for labels in spelled if labels is not None], Boundaries.of(tokenizer))


def _spelled(text: str, tokenizer: Tokenizer) -> list[int] | None:
    try:
        labels = tokenizer.encode(text)
    except UserError:
        return None
    return labels if labels and tokenizer.decode(labels) == text else None


def read_phrases(given: str) -> tuple[str, ...]:
    """Phrases of a file, one a line, what follows a # being a comment; or, where there is no such file, joined by ;.

    UserError where there is none.
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except OSError:  # too long for a name
        is_file = False
    if not is_file and (path.suffix == ".txt" or "/" in given):
        raise UserError(f"--hotwords {given}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if is_file else given.split(";")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--hotwords {given}: cannot be read ({error}); give a text file, one phrase a line") from None
    found = [" ".join((line.partition("#")[0] if is_file else line).split()) for line in lines]
    phrases = tuple(dict.fromkeys(phrase for phrase in found if phrase))
    if not phrases:
        raise UserError(f'--hotwords {given}: holds no phrase; give a file with one a line, or "phrase;phrase"')
    return phrases


@dataclass(frozen=True)
class PhraseState:
    states: Tensor
    """[R, K] int64."""

    def gather(self, rows: Tensor, back: Tensor) -> PhraseState:
        return PhraseState(self.states[rows[:, None], back])

    def put(self, columns: Tensor, new: PhraseState, taken: Tensor) -> PhraseState:
        return PhraseState(placed(self.states, columns, new.states, taken))


@dataclass(frozen=True)
class PhraseScorer:
    """The automaton at work on a batch; scores count labels."""

    automaton: PhraseAutomaton
    batch: int

    def start(self) -> PhraseState:
        return PhraseState(self.automaton.first.new_full((self.batch, 1), _OPEN))

    def step(self, labels: Tensor | None, state: PhraseState) -> tuple[Tensor, PhraseState]:
        after = state if labels is None else PhraseState(self.automaton.after(state.states, labels))
        return self.automaton.gains(after.states), after

    def select(self, rows: Tensor) -> PhraseScorer:
        return PhraseScorer(self.automaton, len(rows))
