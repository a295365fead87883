"""Every hypothesis that searches with weights far apart come upon, with its errors and the parts of its score.

N hypotheses of all utterances together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from aedo.data.audio import AudioConfig, AudioProblem, samples_of
from aedo.score.decode import SetOfCuts
from aedo.score.wer import align
from aedo.search.config import Kind, SearchConfig
from aedo.search.recognize import EncodedBatch, Recognizer, Samples, batches
from aedo.search.rescore import Parts, Weights, score_parts
from aedo.search.run_search import run_search

Labels = tuple[int, ...]


@dataclass
class Lists:
    """All hypotheses of a set."""

    known: list[dict[Labels, None]]
    """By utterance: none comes twice."""
    owners: list[int] = field(default_factory=list)
    """[N] which utterance."""
    errors: list[int] = field(default_factory=list)
    """[N] wrong words."""
    parts: list[Parts] = field(default_factory=list)
    words: int = 0
    missed: int = 0
    """Words of utterances in which nothing can be recognised."""

    def best(self) -> int:
        """Errors of the best hypotheses: no weights can do better on these lists."""
        lowest = torch.full((len(self.known),), 2**31).scatter_reduce(
            0, torch.tensor(self.owners), torch.tensor(self.errors), "amin"
        )
        return int(lowest[lowest < 2**31].sum())


@dataclass(frozen=True)
class Prepared:
    """A set, and the recogniser it is tuned for."""

    recognizer: Recognizer
    audio: AudioConfig
    cuts: SetOfCuts

    def batches(self) -> Iterator[tuple[list[int], EncodedBatch | None]]:
        """(indices, those that can be heard); unusable audio counts as silence of no length."""
        config, cuts = self.recognizer.config, self.cuts.cuts
        for chosen in batches([cut.num_samples for cut in cuts], config.max_samples, min(config.max_utterances, 32)):
            yield chosen, self.recognizer.encode([self._samples(i) for i in chosen])

    def words(self, number: int) -> list[str]:
        return (self.cuts.cuts[number].supervisions[0].text or "").split()

    def speakers(self) -> list[str]:
        return [cut.supervisions[0].speaker or "" for cut in self.cuts.cuts]

    def errors(self, labels: Labels, number: int) -> int:
        """Wrong words of a hypothesis."""
        ref, hyp = self.words(number), self.recognizer.tokenizer.decode(labels).split()
        if not ref or not hyp:
            return max(len(ref), len(hyp))
        return sum(a != b for a, b in align(ref, hyp))

    def weighted(self, weights: Weights, *, whole_beam: bool = False) -> SearchConfig:
        """The joint search with these weights."""
        config = self.recognizer.config
        given = {**weights._asdict(), "whole_beam": whole_beam or config.whole_beam, "kind": "joint"}
        return SearchConfig.model_validate({**config.model_dump(), **given})

    def _samples(self, number: int) -> Samples:
        try:
            return samples_of(self.cuts.cuts[number], self.audio)
        except AudioProblem:
            return np.zeros(0, np.float32)


def collect(
    prepared: Prepared,
    lists: Lists,
    weights: Sequence[Weights],
    progress: Callable[[int], None],
    *,
    internal_lm: bool = False,
) -> None:
    """Add what joint searches with these weights find, and is not known yet."""
    recognizer, first = prepared.recognizer, not lists.words
    for chosen, batch in prepared.batches():
        if first:
            lists.words += sum(len(prepared.words(i)) for i in chosen)
            heard = set() if batch is None else {chosen[place] for place in batch.audible}
            lists.missed += sum(len(prepared.words(i)) for i in chosen if i not in heard)
        if batch is not None:
            new: list[dict[Labels, None]] = [{} for _ in batch.audible]
            for one in weights:
                config = prepared.weighted(one, whole_beam=True)
                result = run_search(recognizer.model, batch.encoded, config, "joint", recognizer.fusion)
                for row, place in enumerate(batch.audible):
                    found = [h.labels for h in result.hypotheses(row) if h.labels not in lists.known[chosen[place]]]
                    new[row].update(dict.fromkeys(found))
            fresh = [list(one) for one in new]
            lists.parts.append(
                score_parts(recognizer.model, batch.encoded, fresh, recognizer.fusion, internal_lm=internal_lm)
            )
            for row, found in enumerate(fresh):
                number = chosen[batch.audible[row]]
                lists.known[number].update(new[row])
                lists.owners += [number] * len(found)
                lists.errors += [prepared.errors(labels, number) for labels in found]
        progress(len(chosen))


def searched(
    prepared: Prepared, searches: Sequence[tuple[SearchConfig, Kind]], progress: Callable[[int], None]
) -> list[int]:
    """Wrong words of each search; utterances without a frame left out."""
    recognizer, wrong = prepared.recognizer, [0] * len(searches)
    for chosen, batch in prepared.batches():
        for which, (config, kind) in enumerate(searches if batch is not None else ()):
            assert batch is not None
            result = run_search(recognizer.model, batch.encoded, config, kind, recognizer.fusion)
            for row, place in enumerate(batch.audible):
                found = result.hypotheses(row)
                wrong[which] += prepared.errors(found[0].labels if found else (), chosen[place])
        progress(len(chosen))
    return wrong


def padded_lists(lists: Lists) -> tuple[Tensor, Tensor]:
    """Hypotheses by utterance: places [utterances with any, H] in the N, -1 behind the end; and their owners."""
    owners = torch.tensor(lists.owners)
    order = owners.argsort(stable=True)
    present, counts = torch.unique_consecutive(owners[order], return_counts=True)
    places = torch.full((len(present), int(counts.max())), -1)
    column = torch.arange(len(owners)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    places[torch.arange(len(present)).repeat_interleave(counts), column] = order
    return places, present
