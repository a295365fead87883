"""Hypotheses of the folder's searches against ours: labels, order and scores."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aedo.errors import UserError
from aedo.model.aed import AED
from aedo.search.beam import beam_search, reference_scores
from aedo.search.ctc import ctc_paths
from aedo.search.hypotheses import NBest
from aedo.verify.check import VALUE, Check
from aedo.verify.folder import GoldenFolder, Inputs


class Expected(NamedTuple):
    labels: tuple[int, ...]
    """Those that count, and whatever the search put behind them."""
    length: int
    score: float


def checks(folder: GoldenFolder, model: AED) -> Iterator[Check]:
    """One check for each mode of beam.json: `batch`, `single` (every utterance alone), `max_seq_len_N`."""
    beams, inputs = folder.beams, folder.inputs
    where = folder.path / "beam.json"
    for mode in beams:
        limited = re.fullmatch(r"max_seq_len_(\d+)", mode)
        if mode not in ("batch", "single") and not limited:
            continue
        expected = [
            [_hypothesis(where, entry) for entry in row] for row in rows_of(where, mode, beams, len(inputs.audio))
        ]
        beam, exponent = beams.get("beam_size"), beams.get("length_normalization_exponent", 1.0)
        if not isinstance(beam, int) or beam < 1:
            raise UserError(f"{where}: beam_size must be a positive integer, not {beam!r}")
        if mode == "single":
            found = [hypotheses for row in alone(inputs) for hypotheses in search(model, *row, beam, exponent)]
        else:
            limit = int(limited[1]) if limited else None
            found = search(model, inputs.audio, inputs.lengths, beam, exponent, limit)
        difference, note = compare_beams(found, expected)
        yield Check("beams", mode, difference, VALUE, note)


@torch.inference_mode()
def search(
    model: AED, audio: Tensor, lengths: Tensor, beam: int, exponent: float = 1.0, limit: int | None = None
) -> list[list[Expected]]:
    """Our hypotheses of every utterance, scored as the reference scores them; `limit` bounds their steps."""
    encoded = model.encode(model.features(audio, lengths))
    if model.decoder is None:
        return listed(ctc_paths(model.ctc_log_probs(encoded), encoded.lengths, beam=beam))
    limits = encoded.lengths if limit is None else torch.full_like(encoded.lengths, limit)
    found = beam_search(model.decoder, model.decoder.memory(encoded), limits, beam=beam, length_normalization=exponent)
    return listed(NBest(found.labels, found.lengths, reference_scores(found, exponent), found.steps))


def listed(found: NBest) -> list[list[Expected]]:
    return [
        [Expected(tuple(ids), length, score) for ids, length, score in zip(*row)]
        for row in zip(found.labels.tolist(), found.lengths.tolist(), found.scores.tolist())
    ]


def alone(inputs: Inputs) -> Iterator[tuple[Tensor, Tensor]]:
    for row, length in enumerate(inputs.lengths.tolist()):
        yield inputs.audio[row : row + 1, :length], inputs.lengths[row : row + 1]


def compare_beams(found: list[list[Expected]], expected: list[list[Expected]]) -> tuple[float, str]:
    """Largest difference of the scores; infinity where a hypothesis is another one.

    Hypotheses whose reference scores are equal within the bound may change places.
    """
    scores = [hypothesis.score for row in expected for hypothesis in row]
    largest = max((abs(score) for score in scores if math.isfinite(score)), default=0.0) or 1.0
    worst = 0.0
    for utterance, (ours, theirs) in enumerate(zip(found, expected)):
        where = f"utterance {utterance + 1}"
        if len(ours) < len(theirs):
            return math.inf, f"{where}: {len(ours)} hypotheses, not {len(theirs)}"
        for place, (our, their) in enumerate(zip(ours, theirs)):
            equals = [other for other in theirs if abs(other.score - their.score) <= VALUE * largest]
            if not any(_same(our, other) for other in equals):
                return math.inf, f"{where}, hypothesis {place + 1}: {_text(our)}, not {_text(their)}"
            worst = max(worst, abs(our.score - their.score) / largest)
    return worst, f"{len(scores)} hypotheses equal"


def _same(our: Expected, their: Expected) -> bool:
    """The reference may stop filling up earlier or later than ours: what both wrote must be equal."""
    shared = min(len(our.labels), len(their.labels))
    return our.length == their.length and shared >= our.length and our.labels[:shared] == their.labels[:shared]


def _text(hypothesis: Expected) -> str:
    return " ".join(map(str, hypothesis.labels[: hypothesis.length])) or "(empty)"


def rows_of(where: Any, mode: str, beams: dict[str, Any], utterances: int) -> list[list[Any]]:
    rows = beams[mode]
    if not isinstance(rows, list) or len(rows) != utterances or not all(isinstance(row, list) and row for row in rows):
        raise UserError(f"{where}: {mode} must hold a list of hypotheses for each of the {utterances} utterances")
    return rows


def _hypothesis(where: Any, entry: Any) -> Expected:
    try:
        labels = entry.get("raw_labels_full", entry.get("labels"))
        return Expected(tuple(int(label) for label in labels), int(entry["length"]), float(entry["score"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{where}: a hypothesis needs labels, length and score; found {entry!r:.100}") from None
