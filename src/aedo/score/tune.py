"""The weights of the joint search that make the fewest errors on a prepared set.

The search runs a few times, with weights far apart; every hypothesis it came upon is then scored by each model once,
and all other weights are tried on these lists.  N hypotheses of all utterances together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aedo.data.audio import AudioConfig, AudioProblem, samples_of
from aedo.errors import UserError
from aedo.files import write_text
from aedo.score.decode import SetOfCuts
from aedo.score.wer import align
from aedo.search.choose import SETTINGS
from aedo.search.recognize import Recognizer, Samples, batches
from aedo.search.rescore import Parts, score_parts
from aedo.search.run_search import run_search

CTC_SCALES = tuple(round(0.05 * i, 2) for i in range(20))
LENGTH_REWARDS = tuple(round(0.1 * i, 1) for i in range(-5, 16))
SEARCHED = (0.3, 0.6, 0.9)
"""CTC scales of the searches that make the lists."""


class Weights(NamedTuple):
    ctc_scale: float
    length_reward: float


@dataclass(frozen=True)
class Found:
    weights: Weights
    lists: float
    """WER on the lists with these weights, %."""
    before: float
    """WER of the search as it was set, %."""
    after: float
    """WER of the search with these weights, %."""
    oracle: float
    """WER of the best hypotheses of the lists, %: no weights can do better on them."""


@dataclass
class _Lists:
    """All hypotheses of a set."""

    owners: list[int] = field(default_factory=list)
    """[N] which utterance."""
    errors: list[int] = field(default_factory=list)
    """[N] wrong words."""
    parts: list[Parts] = field(default_factory=list)
    words: int = 0
    missed: int = 0
    """Words of utterances in which nothing can be recognised."""
    utterances: int = 0

    def whole(self) -> Parts:
        return Parts(*(torch.cat([getattr(one, name) for one in self.parts]) for name in ("decoder", "ctc", "labels")))


def tune(
    recognizer: Recognizer,
    audio: AudioConfig,
    cuts: SetOfCuts,
    progress: Callable[[int], None] = lambda utterances: None,
) -> Found:
    """The weights with the fewest errors on the lists, and what the search makes of them.

    Of weights with equally few errors those nearest to the middle of their like: the set is small, and a broad valley
    is a better guess than its rim.  UserError where the model has no joint search or the set no words.
    """
    if recognizer.model.decoder is None or not recognizer.model.ctc_layers:
        raise UserError("only the joint search has weights to tune: this model lacks a decoder or a CTC head")
    lists = _listed(recognizer, audio, cuts, progress)
    if not lists.words or not lists.owners:
        raise UserError(f"{cuts.data}: {cuts.name} has no words to tune on; give another --set")
    errors = grid_errors(lists.whole(), torch.tensor(lists.owners), torch.tensor(lists.errors), lists.utterances)
    ctc, reward = broadest(errors)
    weights = Weights(CTC_SCALES[ctc], LENGTH_REWARDS[reward])
    oracle = torch.full((lists.utterances,), 2**31).scatter_reduce(
        0, torch.tensor(lists.owners), torch.tensor(lists.errors), "amin"
    )
    best = int(oracle[oracle < 2**31].sum())

    def rate(count: int) -> float:
        return round(100.0 * (count + lists.missed) / lists.words, 4)

    before, after = (_searched(recognizer, audio, cuts, one) for one in (None, weights))
    return Found(weights, rate(int(errors[ctc, reward])), rate(before), rate(after), rate(best))


def grid_errors(parts: Parts, owners: Tensor, errors: Tensor, utterances: int) -> Tensor:
    """[CTC scales, length rewards] wrong words of the best hypotheses; owners, errors [N]."""
    found = torch.zeros(len(CTC_SCALES), len(LENGTH_REWARDS), dtype=torch.int64)
    for i, scale in enumerate(CTC_SCALES):
        for j, reward in enumerate(LENGTH_REWARDS):
            scores = parts.total(scale, reward)
            highest = torch.full((utterances,), float("-inf"), dtype=scores.dtype).scatter_reduce(
                0, owners, scores, "amax"
            )
            first = torch.full((utterances,), len(owners)).scatter_reduce(
                0, owners, torch.arange(len(owners)).masked_fill(scores < highest[owners], len(owners)), "amin"
            )
            found[i, j] = errors[first[first < len(owners)]].sum()
    return found


def broadest(errors: Tensor) -> tuple[int, int]:
    """The place of the lowest value; of several, the one whose neighbours are lowest on average."""
    smooth = torch.nn.functional.avg_pool2d(errors[None, None].double(), 5, 1, 2, count_include_pad=False)[0, 0]
    place = int(smooth.masked_fill(errors > errors.min(), float("inf")).argmin())
    return place // errors.shape[1], place % errors.shape[1]


def save(run: Path, found: Found, made_from: dict[str, Any]) -> Path:
    """Write the weights where the searches of this run look for them."""
    content = {"settings": {"kind": "joint", **found.weights._asdict()}, "wer": _rates(found), "made_from": made_from}
    write_text(run / SETTINGS, json.dumps(content, indent=1) + "\n")
    return run / SETTINGS


def _rates(found: Found) -> dict[str, float]:
    return {"before": found.before, "after": found.after, "lists": found.lists, "oracle": found.oracle}


def _listed(recognizer: Recognizer, audio: AudioConfig, cuts: SetOfCuts, progress: Callable[[int], None]) -> _Lists:
    lists = _Lists(utterances=len(cuts.cuts))
    for chosen, samples in _read(recognizer, audio, cuts):
        batch = recognizer.encode(samples)
        lists.words += sum(len(_words(cuts, i)) for i in chosen)
        heard = set() if batch is None else {chosen[place] for place in batch.audible}
        lists.missed += sum(len(_words(cuts, i)) for i in chosen if i not in heard)
        if batch is not None:
            found: list[dict[tuple[int, ...], None]] = [{} for _ in batch.audible]
            for scale in SEARCHED:
                config = recognizer.config.with_("ctc_scale", scale).with_("whole_beam", True)
                result = run_search(recognizer.model, batch.encoded, config, "joint")
                for row, known in enumerate(found):
                    known.update(dict.fromkeys(h.labels for h in result.hypotheses(row)))
            lists.parts.append(score_parts(recognizer.model, batch.encoded, [list(known) for known in found]))
            for row, known in enumerate(found):
                number = chosen[batch.audible[row]]
                lists.owners += [number] * len(known)
                lists.errors += [_errors(recognizer, labels, _words(cuts, number)) for labels in known]
        progress(len(chosen))
    return lists


def _searched(recognizer: Recognizer, audio: AudioConfig, cuts: SetOfCuts, weights: Weights | None) -> int:
    """Wrong words of the search, as it is set or with these weights; utterances without a frame left out."""
    config, kind = recognizer.config, recognizer.kind
    if weights is not None:
        kind = "joint"
        config = config.with_("ctc_scale", weights.ctc_scale).with_("length_reward", weights.length_reward)
    wrong = 0
    for chosen, samples in _read(recognizer, audio, cuts):
        batch = recognizer.encode(samples)
        if batch is None:
            continue
        result = run_search(recognizer.model, batch.encoded, config, kind)
        for row, place in enumerate(batch.audible):
            found = result.hypotheses(row)
            wrong += _errors(recognizer, found[0].labels if found else (), _words(cuts, chosen[place]))
    return wrong


def _read(recognizer: Recognizer, audio: AudioConfig, cuts: SetOfCuts) -> Iterator[tuple[list[int], list[Samples]]]:
    """Batches of (indices, samples); unusable audio counts as silence of no length."""
    config = recognizer.config
    for chosen in batches([cut.num_samples for cut in cuts.cuts], config.max_samples, min(config.max_utterances, 32)):
        samples: list[Samples] = []
        for i in chosen:
            try:
                samples.append(samples_of(cuts.cuts[i], audio))
            except AudioProblem:
                samples.append(np.zeros(0, np.float32))
        yield chosen, samples


def _words(cuts: SetOfCuts, number: int) -> list[str]:
    return (cuts.cuts[number].supervisions[0].text or "").split()


def _errors(recognizer: Recognizer, labels: tuple[int, ...], ref: list[str]) -> int:
    hyp = recognizer.tokenizer.decode(labels).split()
    if not ref or not hyp:
        return max(len(ref), len(hyp))
    return sum(a != b for a, b in align(ref, hyp))
