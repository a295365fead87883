"""An n-gram language model that scores all labels after many histories at once.

R utterances, K hypotheses, M = R K histories, S contexts (0: the empty one), E n-grams of two and more words, V labels.

A history is the longest context of the model that it ends with, one number.  The scores after it: those of the empty
context plus all back-off weights on the way there, then, from the shortest context to the longest, what each knows
itself is written over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aedo.data.text import Tokenizer
from aedo.errors import UserError
from aedo.lm.arpa import NGrams, read_arpa
from aedo.lm.symbols import Symbols
from aedo.lm.trie import IncompleteError, tables_of
from aedo.model.decoder import placed
from aedo.model.labels import Labels

DENSE = 1 << 22
"""Most numbers of a table of all contexts and labels that is made beforehand, to look scores up in one go."""


@dataclass(frozen=True)
class NgramState:
    contexts: Tensor
    """[R, K] int64."""

    def gather(self, rows: Tensor, back: Tensor) -> NgramState:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        return NgramState(self.contexts[rows[:, None], back])

    def put(self, columns: Tensor, new: NgramState, taken: Tensor) -> NgramState:
        """With the hypotheses of `new` [R, K'] in the places `columns` [R, K'] where `taken` [R, K'] bool."""
        return NgramState(placed(self.contexts, columns, new.contexts, taken))


@dataclass(frozen=True)
class NgramTables:
    """See aedo.lm.trie.Tables; scores are float32, everything else int64."""

    unigrams: Tensor
    after: Tensor
    backoffs: Tensor
    shorter: Tensor
    first: Tensor
    labels: Tensor
    scores: Tensor
    targets: Tensor
    keys: Tensor
    """[E + 1] context times V plus label, ascending; the last is beyond all."""
    begin: int
    order: int

    @classmethod
    def of(cls, orders: Sequence[NGrams], symbols: Symbols) -> NgramTables:
        """Raises IncompleteError where the n-grams do not make a model."""
        found = tables_of(orders, symbols)
        arrays = {name: torch.from_numpy(getattr(found, name)) for name in found._fields[:8]}
        scores = {name: arrays[name].float() for name in ("unigrams", "backoffs", "scores")}
        sources = torch.arange(len(found.backoffs)).repeat_interleave(arrays["first"].diff())
        keys = torch.cat([sources * symbols.size + arrays["labels"], torch.tensor([torch.iinfo(torch.int64).max])])
        return cls(**{**arrays, **scores}, keys=keys, begin=found.begin, order=found.order)

    def to(self, device: torch.device) -> NgramTables:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {n: v.to(device) if isinstance(v, Tensor) else v for n, v in values.items()}
        return NgramTables(**moved)

    def score(self, contexts: Tensor) -> Tensor:
        """log p(label | context) of every label: [M] -> [M, V].  Waits for the device once per order."""
        chain, weights = self._chain(contexts)
        scores = self.unigrams + weights[-1][:, None]
        for context, weight in zip(reversed(chain), reversed(weights[:-1])):
            start = self.first[context]
            counts = self.first[context + 1] - start
            owner = torch.arange(len(context), device=context.device).repeat_interleave(counts)
            before = counts.cumsum(0) - counts  # n-grams of the histories before
            at = torch.arange(len(owner), device=context.device) + (start - before)[owner]
            scores[owner, self.labels[at]] = self.scores[at] + weight[owner]
        return scores

    def follow(self, contexts: Tensor, labels: Tensor) -> Tensor:
        """The contexts after one more label: [M], [M] -> [M]."""
        reached = self.after[labels]
        for context in reversed(self._chain(contexts)[0]):
            wanted = context * len(self.unigrams) + labels
            at = torch.searchsorted(self.keys, wanted)
            known = self.keys[at] == wanted
            reached = torch.where(known, self.targets[at.clamp(max=max(len(self.targets) - 1, 0))], reached)
        return reached

    def _chain(self, contexts: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The contexts, the next shorter ones and so on, as many as differ; the back-off weights on the way to each,
        and to the empty one."""
        chain, weights = [], [torch.zeros_like(self.unigrams[:1]).expand(len(contexts))]
        for _ in range(self.order - 1):
            chain.append(contexts)
            weights.append(weights[-1] + self.backoffs[contexts])
            contexts = self.shorter[contexts]
        return chain, weights


class NgramLM:
    """p(label | labels before) by an n-gram model over labels."""

    def __init__(self, orders: Sequence[NGrams], symbols: Symbols) -> None:
        """Raises IncompleteError where the n-grams do not make a model."""
        self.tables = NgramTables.of(orders, symbols)
        self.vocabulary = symbols.size
        self.ngrams = tuple(len(grams.words) for grams in orders)
        """How many of each order."""
        self._on: dict[torch.device, tuple[NgramTables, tuple[Tensor, Tensor] | None]] = {}

    @classmethod
    def read(cls, path: Path, tokenizer: Tokenizer) -> NgramLM:
        """From an ARPA file (.arpa or .arpa.gz).  UserError where it is none over the tokenizer's labels."""
        symbols = Symbols.of(tokenizer)
        orders = read_arpa(path, symbols)
        try:
            return cls(orders, symbols)
        except IncompleteError as error:
            raise UserError(
                f"{path}: not a whole model: {error}; write it anew with aedo train-lm or KenLM's lmplz"
            ) from None

    def log_probs(self, labels: Labels) -> Tensor:
        """[B] of whole sentences, given with EOS."""
        scorer = self.scorer(len(labels.ids), torch.device("cpu"))
        state, total = scorer.start(), torch.zeros(len(labels.ids))
        before: Tensor | None = None
        for position, column in enumerate(labels.ids.T):
            scores, state = scorer.step(before, state)
            total += scores[:, 0].gather(1, column[:, None])[:, 0].where(position < labels.lengths, 0.0)
            before = column[:, None]
        return total

    def scorer(self, utterances: int, device: torch.device) -> NgramScorer:
        """For a batch of so many utterances."""
        if device not in self._on:
            tables = self.tables.to(device)
            contexts = len(tables.backoffs)
            self._on[device] = tables, _dense(tables) if contexts * self.vocabulary <= DENSE else None
        tables, dense = self._on[device]
        return NgramScorer(tables, utterances, dense)


def _dense(tables: NgramTables) -> tuple[Tensor, Tensor]:
    """Scores and next contexts of all contexts and labels, [S, V] each."""
    device = tables.first.device
    contexts = torch.arange(len(tables.backoffs), device=device)
    labels = torch.arange(len(tables.unigrams), device=device)
    following = tables.follow(contexts.repeat_interleave(len(labels)), labels.repeat(len(contexts)))
    return tables.score(contexts), following.view(len(contexts), len(labels))


@dataclass(frozen=True)
class NgramScorer:
    """The model for one batch; see aedo.search.scorer.LabelScorer."""

    tables: NgramTables
    utterances: int
    dense: tuple[Tensor, Tensor] | None

    def start(self) -> NgramState:
        """One empty hypothesis per utterance."""
        return NgramState(torch.full((self.utterances, 1), self.tables.begin, device=self.tables.first.device))

    def step(self, labels: Tensor | None, state: NgramState) -> tuple[Tensor, NgramState]:
        """labels [R, K] (None at the start) -> (log p of the next one [R, K, V], next state)."""
        contexts = state.contexts
        if self.dense is not None:
            scores, following = self.dense
            contexts = contexts if labels is None else following[contexts, labels]
            return scores[contexts], NgramState(contexts)
        if labels is not None:
            contexts = self.tables.follow(contexts.flatten(), labels.flatten()).view_as(labels)
        return self.tables.score(contexts.flatten()).view(*contexts.shape, -1), NgramState(contexts)

    def select(self, rows: Tensor) -> NgramScorer:
        """For the utterances `rows` ([R] int64)."""
        return replace(self, utterances=len(rows))
