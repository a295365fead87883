"""Which checkpoints of a run are decoded, and the recogniser made of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder
from aedo.search.config import Kind, SearchConfig, check_settings
from aedo.search.fused import fusion_for
from aedo.search.precision import Precision
from aedo.search.recognize import Recognizer
from aedo.train.keep import best_epochs, fixed_epochs

BEST_PER_MEASURE = 2
"""Checkpoints decoded by default for every dev measure (the reference)."""
SETTINGS = "search.json"
"""In the run folder: what was found on dev to be better than the experiment's settings."""


def choose(run: RunFolder, which: str | None) -> list[Checkpoint]:
    """Checkpoints that `which` names: labels, `all`, `last`, `best` or `average` (every average), joined by commas.

    By default (None) as the reference does: the epochs kept by rule with the last one, the best two by every dev
    measure, and the averages.  In the run's own order, none twice.  Raises UserError where a name fits nothing.
    """
    available = run.checkpoints()
    if not available:
        raise UserError(f"{run.checkpoint_folder}: no checkpoint yet; wait for the training's first sub-epoch")
    epochs = [c for c in available if not c.averaged]
    averages = [c for c in available if c.averaged]
    if which is None:
        labels = {c.label for c in (*averages, *epochs[-1:])}
        wanted = fixed_epochs(run.experiment().train.epochs) | _best(epochs)
        labels |= {c.label for c in epochs if c.epoch in wanted}
    else:
        labels = set()
        for name in (name.strip() for name in which.split(",")):
            groups = {"all": available, "average": averages}
            found = groups[name] if name in groups else [run.checkpoint(name)]
            if not found:
                raise UserError(f"--checkpoint {name}: {run.path} has no average yet; `aedo average` makes one")
            labels |= {c.label for c in found}
    return [c for c in available if c.label in labels]


def preferred(run: RunFolder) -> Checkpoint:
    """The one to use where nobody chose: the average over the training's end, else any average, else the best epoch."""
    averages = [c for c in run.checkpoints() if c.averaged]
    at_end = [c for c in averages if c.label.endswith("pct")]
    return (at_end or averages or [run.checkpoint("best" if any(c.scores for c in run.checkpoints()) else "last")])[0]


def search_of(run: RunFolder, kind: Kind | None = None) -> SearchConfig:
    """The search of a run: the experiment's, with the settings found by `aedo tune`.  UserError where they are bad.

    Settings found for one kind of search are left out of a `kind` that scores in another way.
    """
    search, path = run.experiment().search, run.path / SETTINGS
    if not path.is_file():
        return search
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["settings"]
        tuned = SearchConfig.model_validate({**search.model_dump(), **found})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not settings of a search ({error}); run aedo tune again, or remove it") from None
    alike = kind is None or kind == tuned.kind or {kind, tuned.kind} == {"joint", "joint_time"}
    return tuned if alike else search


def search_as_asked(
    run: RunFolder,
    *,
    kind: Kind | None = None,
    beam: int | None = None,
    whole_beam: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> SearchConfig:
    """The search of a run, of another kind or beam or with other settings (fields of `SearchConfig`) where given.

    `whole_beam`: for lists of hypotheses, as the setting of that name.  UserError for a setting that is wrong, or that
    this kind of search does not look at.
    """
    search, experiment = search_of(run, kind), run.experiment()
    kind = kind or search.kind_for(decoder=experiment.decoder is not None, ctc=bool(experiment.ctc.layers))
    given: dict[str, Any] = dict(settings or {})
    check_settings(given, kind)
    given |= {} if beam is None else {"beam": beam}
    given |= {"whole_beam": True} if whole_beam else {}
    try:
        return SearchConfig.model_validate({**search.model_dump(), **given, "kind": kind})
    except ValidationError as error:
        problem = error.errors()[0]
        raise UserError(f"search.{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


def recognizer_of(
    run: RunFolder,
    checkpoint: Checkpoint,
    device: torch.device | str = "cpu",
    *,
    kind: Kind | None = None,
    beam: int | None = None,
    use_ctc: bool = False,
    whole_beam: bool = False,
    precision: Precision = "float32",
    settings: Mapping[str, Any] | None = None,
) -> Recognizer:
    """The run's model with a checkpoint's weights, its tokenizer, and its search as `search_as_asked` gives it.

    Raises UserError when a file is missing, damaged or of another model.
    """
    kind = "ctc_greedy" if use_ctc else kind
    search = search_as_asked(run, kind=kind, beam=beam, whole_beam=whole_beam, settings=settings)
    tokenizer = run.tokenizer()
    if tokenizer.size != run.vocabulary:
        raise UserError(
            f"{run.tokenizer_folder}: {tokenizer.size} labels, but the run was trained with {run.vocabulary}; "
            "restore the tokenizer of this run"
        )
    model = run.load_model(checkpoint.label, device)
    recognizer = Recognizer(model, tokenizer, search, device, precision=precision)
    recognizer.fusion = fusion_for(recognizer, run, checkpoint)
    return recognizer


def _best(epochs: list[Checkpoint]) -> set[int]:
    scores = {c.epoch: c.scores for c in epochs}
    measures = {name for values in scores.values() for name in values}
    return {epoch for name in measures for epoch in best_epochs(scores, name, BEST_PER_MEASURE)}
