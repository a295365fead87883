"""The settings of a run's search that make the fewest errors on a prepared set.

The joint search runs a few times, with weights far apart; every hypothesis it came upon is then scored by each model
once, and all other weights are tried on these lists.  What the search finds with the best weights joins the lists, and
the weights are chosen anew.  At last the search runs with them, and beside it what is already there: the search as it
was set, the decoder alone, CTC alone.  The best of these is what is found, so that it is never worse, on this set, than
the models by themselves.

The errors of weights chosen on a set are too few for another one.  How many those would be is estimated on the lists:
the weights for every speaker are chosen on the other speakers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aedo.data.audio import AudioConfig
from aedo.errors import UserError
from aedo.files import write_text
from aedo.lm.load import load_lm
from aedo.run import Checkpoint, RunFolder
from aedo.score.decode import SetOfCuts
from aedo.score.lists import Lists, Prepared, collect, padded_lists, searched
from aedo.search.choose import SETTINGS
from aedo.search.config import Kind, SearchConfig, name_of
from aedo.search.fusion import Fusion
from aedo.search.prior import prior_of
from aedo.search.recognize import Recognizer
from aedo.search.rescore import Parts, Weights

CTC_SCALES = tuple(round(0.05 * i, 2) for i in range(21))
LENGTH_REWARDS = tuple(0.25 * i for i in range(-8, 25))
LM_SCALES = tuple(round(0.1 * i, 1) for i in range(13))
INTERNAL_LM_SCALES = tuple(round(0.1 * i, 1) for i in range(6))
PRIOR_SCALES = tuple(round(0.1 * i, 1) for i in range(7))
SEARCHED = (Weights(0.3), Weights(0.6), Weights(0.9), Weights(1.0), Weights(0.6, 1.0))
SEARCHED_WITH_LM = (
    Weights(0.6, 0.0, 0.3),
    Weights(0.6, 1.0, 0.6),
    Weights(0.9, 0.0, 0.3),
    Weights(1.0, 1.0, 0.8, 0.0, 0.2),
)
"""Weights of the searches that make the lists."""
_ALONE: dict[str, Any] = {
    "length_reward": 0.0,
    "internal_lm_scale": 0.0,
    "prior_scale": 0.0,
    "lm": None,
    "hotwords": (),
}
FOLDS = 10
"""The speakers are parted into at most so many groups."""


@dataclass(frozen=True)
class Found:
    kind: Kind
    weights: Weights
    """Of the joint search; where another kind was better, they are those it was compared with."""
    lists: float
    """WER on the lists with these weights, %."""
    elsewhere: float | None
    """WER on the lists with weights chosen on other speakers, %; None where there is but one speaker."""
    before: float
    """WER of the search as it was set, %."""
    after: float
    """WER of the search found, %."""
    alone: dict[str, float]
    """WER of what was searched beside it, by name, %."""
    oracle: float
    """WER of the best hypotheses of the lists, %: no weights can do better on them."""

    def settings(self, config: SearchConfig) -> dict[str, Any]:
        """What makes the recogniser's search this one."""
        if self.kind != "joint":
            return {"kind": self.kind}
        used = {"kind": self.kind, **self.weights._asdict()}
        return {**used, "lm": config.lm} if self.weights.lm_scale else used


@dataclass(frozen=True)
class Grid:
    """All weights that are tried: [C, R, L, I, P]."""

    axes: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, *, lm: bool = False, prior: bool = False, internal_lm: bool = False) -> Grid:
        none = (0.0,)
        models = (
            LM_SCALES if lm else none,
            INTERNAL_LM_SCALES if internal_lm else none,
            PRIOR_SCALES if prior else none,
        )
        return cls((CTC_SCALES, LENGTH_REWARDS, *models))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.axes))

    def weights(self, place: tuple[int, ...]) -> Weights:
        return Weights(*(axis[i] for axis, i in zip(self.axes, place, strict=True)))


def all_there_is(
    recognizer: Recognizer, run: RunFolder, checkpoint: Checkpoint, lm: Path | None, *, prior: bool
) -> Fusion:
    """What can be tuned: a language model, given or the run's own, and the prior, whatever their weights are now."""
    path = lm if lm is not None else None if recognizer.config.lm is None else Path(recognizer.config.lm)
    return replace(
        recognizer.fusion,
        lm=None if path is None else load_lm(path, recognizer.tokenizer),
        log_prior=prior_of(recognizer, run, checkpoint) if prior else recognizer.fusion.log_prior,
    )


def naming(config: SearchConfig, lm: Path | None) -> SearchConfig:
    """The configuration with that language model, and no weight for it yet."""
    return config if lm is None else config.with_("lm", str(lm.resolve())).with_("lm_scale", 0.0)


def tune(
    recognizer: Recognizer,
    audio: AudioConfig,
    cuts: SetOfCuts,
    progress: Callable[[int], None] = lambda utterances: None,
    *,
    internal_lm: bool = False,
) -> Found:
    """The best settings; see the module.  `progress` hears of every utterance `passes` times.

    A language model and a prior are tuned where the recogniser's `fusion` has them, the internal language model on
    request: it takes a second decoder.  UserError where the model has no
    joint search or the set no words.
    """
    if recognizer.model.decoder is None or not recognizer.model.ctc_layers:
        raise UserError("only the joint search has weights to tune: this model lacks a decoder or a CTC head")
    prepared, fusion = Prepared(recognizer, audio, cuts), recognizer.fusion
    lists = Lists([{} for _ in cuts.cuts])
    widely = SEARCHED + (SEARCHED_WITH_LM if fusion.lm is not None else ())
    if fusion.log_prior is None:
        widely = tuple(one._replace(prior_scale=0.0) for one in widely)
    collect(prepared, lists, widely, progress, internal_lm=internal_lm)
    if not lists.words or not lists.owners:
        raise UserError(f"{cuts.data}: {cuts.name} has no words to tune on; give another --set")
    grid = Grid.of(lm=fusion.lm is not None, prior=fusion.log_prior is not None, internal_lm=internal_lm)
    folds = _folds(prepared.speakers())
    first = grid.weights(broadest(grid_errors(grid, lists, folds).sum(0)))
    collect(prepared, lists, (first,), progress, internal_lm=internal_lm)
    errors = grid_errors(grid, lists, folds)
    weights = grid.weights(broadest(errors.sum(0)))

    def rate(count: int) -> float:
        return round(100.0 * (count + lists.missed) / lists.words, 4)

    plain = SearchConfig.model_validate({**recognizer.config.model_dump(), **_ALONE})
    searches: list[tuple[SearchConfig, Kind]] = [
        (recognizer.config, recognizer.kind),
        (prepared.weighted(weights), "joint"),
        (prepared.weighted(first), "joint"),
        *((plain, kind) for kind in ("attention", "ctc_prefix", "ctc_greedy")),
    ]
    before, *wrong = searched(prepared, searches, progress)
    best = min(range(len(wrong)), key=lambda i: wrong[i])  # the first of equally good ones
    return Found(
        searches[1 + best][1],
        first if best == 1 else weights,
        rate(int(errors.sum(0).min())),
        _elsewhere(errors, rate),
        rate(before),
        rate(wrong[best]),
        {name_of(kind): rate(count) for (_, kind), count in zip(searches[3:], wrong[2:], strict=True)},
        rate(lists.best()),
    )


PASSES = 3
"""How often `tune` goes through the set."""


def grid_errors(grid: Grid, lists: Lists, folds: Tensor) -> Tensor:
    """[F, *grid] wrong words of the best hypotheses, by the fold of their utterances; folds [utterances]."""
    parts = Parts.joined(lists.parts)
    places, owners = padded_lists(lists)
    behind = places < 0
    errors = torch.tensor(lists.errors)[places.clamp_min(0)]
    fold = folds[owners]
    rewards = torch.tensor(LENGTH_REWARDS, dtype=torch.float64)[:, None, None] * parts.labels[places.clamp_min(0)]
    found = torch.zeros(int(folds.max()) + 1, *grid.shape, dtype=torch.int32)
    ctc, _, lm, internal, prior = grid.axes
    for (i, a), (k, b), (m, c), (n, d) in product(*map(enumerate, (ctc, lm, internal, prior))):
        scores = parts.total(Weights(a, 0.0, b, c, d))[places.clamp_min(0)].masked_fill(behind, float("-inf"))
        best = (scores + rewards).argmax(-1)  # [R, utterances]
        wrong = errors.expand(len(LENGTH_REWARDS), -1, -1).gather(-1, best[..., None])[..., 0]
        found[:, i, :, k, m, n] = torch.zeros(len(found), len(wrong), dtype=torch.int32).index_add(
            0, fold, wrong.T.to(torch.int32)
        )
    return found


def broadest(errors: Tensor) -> tuple[int, ...]:
    """The place of the lowest value; of several, the one whose neighbours are lowest on average."""
    smooth = errors.double()
    for axis, size in enumerate(errors.shape):
        if size > 1:
            lines = smooth.movedim(axis, -1)
            flat = lines.reshape(1, -1, size)
            smooth = torch.nn.functional.avg_pool1d(flat, 5, 1, 2, count_include_pad=False).view_as(lines)
            smooth = smooth.movedim(-1, axis)
    place = int(smooth.masked_fill(errors > errors.min(), float("inf")).argmin())
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(place), errors.shape))


def _folds(speakers: list[str]) -> Tensor:
    """[utterances] which group each speaker belongs to."""
    names = {name: i for i, name in enumerate(sorted(set(speakers)))}
    return torch.tensor([names[name] % FOLDS for name in speakers])


def _elsewhere(errors: Tensor, rate: Callable[[int], float]) -> float | None:
    """The WER of every fold with weights chosen on the others."""
    if len(errors) < 2:
        return None
    whole = errors.sum(0)
    return rate(sum(int(one[broadest(whole - one)]) for one in errors))


def save(run: Path, found: Found, config: SearchConfig, made_from: dict[str, Any]) -> Path:
    """Write the settings where the searches of this run look for them."""
    rates = {"before": found.before, "after": found.after, "lists": found.lists, "oracle": found.oracle}
    rates |= {} if found.elsewhere is None else {"elsewhere": found.elsewhere}
    content = {"settings": found.settings(config), "wer": {**rates, **found.alone}, "made_from": made_from}
    write_text(run / SETTINGS, json.dumps(content, indent=1) + "\n")
    return run / SETTINGS
