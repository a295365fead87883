"""Hypotheses of a chunked model's folder against ours, found by the original's search.  B utterances, N samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aedo.errors import UserError
from aedo.model.aed import AED
from aedo.model.chunked_decoder import ChunkedLstmDecoder
from aedo.search.chunked_reference import chunked_reference_search
from aedo.verify.beams import Expected, compare_beams, listed, rows_of
from aedo.verify.check import VALUE, Check

MODE = re.compile(r"(batch|single)(_beam(\d+)|_length_norm_(\d+)|_max_seq_len_(\d+))?")
"""Of beam.json: what differs from its beam_size, exponent 0 and no limit."""


def beam_checks(
    model: AED, audio: Tensor, lengths: Tensor, beams: dict[str, Any], where: Path, prefix: str
) -> Iterator[Check]:
    """The modes of beam.json, each by the original's search."""
    size = beams.get("beam_size")
    for mode in beams:
        found = MODE.fullmatch(mode)
        if found is None:
            continue
        kind, _, beam, exponent, limit = found.groups()
        expected = [[_hypothesis(where, h) for h in row] for row in rows_of(where, mode, beams, len(audio))]
        if not isinstance(size, int) or size < 1:
            raise UserError(f"{where}: beam_size must be a positive integer, not {size!r}")
        settings = (int(beam or size), float(exponent or 0), None if limit is None else int(limit))
        ours: list[list[Expected]] = []
        rows = [slice(i, i + 1) for i in range(len(expected))] if kind == "single" else [slice(None)]
        for row in rows:
            ours += _searched(model, audio[row], lengths[row], *settings)
        difference, note = compare_beams(ours, expected)
        yield Check("beams", prefix + mode, difference, VALUE, note)


@torch.inference_mode()
def _searched(
    model: AED, audio: Tensor, lengths: Tensor, beam: int, exponent: float, limit: int | None
) -> list[list[Expected]]:
    assert isinstance(model.decoder, ChunkedLstmDecoder)
    encoded = model.encode(model.features(audio[:, : int(lengths.max())], lengths))
    limits = encoded.lengths if limit is None else torch.full_like(encoded.lengths, limit)
    memory = model.decoder.memory(encoded)
    return listed(chunked_reference_search(model.decoder, memory, limits, beam=beam, length_normalization=exponent))


def _hypothesis(where: Path, entry: Any) -> Expected:
    try:
        labels = tuple(int(label) for label in entry["labels_with_eoc"])
        return Expected(labels, int(entry["length"]), float(entry["score"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{where}: a hypothesis needs labels_with_eoc, length, score; found {entry!r:.100}") from None
