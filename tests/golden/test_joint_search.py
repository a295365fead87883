"""The time-synchronous joint search of the reference: 14 settings on two models, in a batch and alone."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.search.frames import soft_collapsed, without_label
from aedo.search.hypotheses import Hypothesis
from aedo.search.joint_reference import reference_joint_search
from aedo.search.scorer import OfDecoder
from aedo.verify.folder import GoldenFolder, arrays_of
from tests.golden.models import FOLDER, loaded

MODELS = {"large": "large", "base": "base-bv24"}
"""The reference's name, and ours of the same weights with consistent padding."""
SEARCHES = FOLDER.parent / "joint-search"
TOLERANCE = 2e-5
"""Of scores between 10 and 100, relative."""


@cache
def encoded(name: str) -> tuple[AED, Encoded, Tensor]:
    model = loaded(MODELS[name])[1]
    inputs = GoldenFolder.open(FOLDER / MODELS[name]).inputs
    with torch.inference_mode():
        states = model.encode(model.features(inputs.audio, inputs.lengths))
        return model, states, model.ctc_log_probs(states)


@cache
def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SEARCHES / f"beam-{name}.json").read_text())
    return found


@torch.inference_mode()
def search(name: str, run: dict[str, Any], rows: list[int]) -> list[tuple[Hypothesis, ...]]:
    model, states, log_probs = encoded(name)
    lengths = states.lengths[rows]
    memory = model.decoder.memory(states).select(torch.tensor(rows))  # type: ignore[union-attr]
    frames = log_probs[rows][:, : int(lengths.max())]
    if run["ctc_soft_collapse_threshold"] is not None:
        frames, lengths = soft_collapsed(frames, lengths, run["ctc_soft_collapse_threshold"])
    if recorded(name)["eos_forbidden_in_ctc"]:
        frames = without_label(frames, EOS)
    found = reference_joint_search(
        frames,
        lengths,
        OfDecoder(model.decoder, memory),
        beam=run["beam_size"],
        ctc_scale=run["ctc_scale"],
        aed_scale=run["aed_scale"],
        recombination=run["recog_recomb"],
    )
    return [found.hypotheses(row) for row in range(len(rows))]


@pytest.mark.parametrize("name", MODELS)
def test_frames_and_their_soft_collapse_are_the_references(name: str) -> None:
    expected = {key: torch.from_numpy(value) for key, value in arrays_of(SEARCHES / f"outputs-{name}.npz").items()}
    _, states, log_probs = encoded(name)
    assert torch.equal(states.lengths, expected["ctc_len"].long())
    for row, length in enumerate(states.lengths.tolist()):
        torch.testing.assert_close(log_probs[row, :length], expected["ctc_log_probs"][row, :length], atol=1e-4, rtol=0)
    for threshold in ("0.5", "0.8"):
        merged, lengths = soft_collapsed(log_probs, states.lengths, float(threshold))
        assert torch.equal(lengths, expected[f"soft_collapse_{threshold}_len"].long())
        wanted = expected[f"soft_collapse_{threshold}_max_renorm"][:, : merged.shape[1]]
        torch.testing.assert_close(merged, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("number", range(14))
@pytest.mark.parametrize("name", MODELS)
def test_hypotheses_are_the_references_in_a_batch_and_alone(name: str, number: int) -> None:
    run = recorded(name)["runs"][number]
    for mode, groups in (("batch", [[0, 1, 2, 3]]), ("single", [[0], [1], [2], [3]])):
        found = [hypotheses for rows in groups for hypotheses in search(name, run, rows)]
        for ours, theirs in zip(found, run[mode], strict=True):
            expected = sorted(theirs, key=lambda h: -h["score"])
            assert [list(h.labels) for h in ours] == [h["labels"] for h in expected]
            assert [h.score for h in ours] == pytest.approx([h["score"] for h in expected], rel=TOLERANCE)
