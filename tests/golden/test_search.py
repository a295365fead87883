"""Both searches against the reference: every hypothesis, its order and its score, batched, alone, and cut short."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from aedo.data.text import CharTokenizer
from aedo.search.beam import SearchConfig, beam_search, reference_scores
from aedo.search.ctc import ctc_paths
from aedo.search.hypotheses import NBest
from aedo.search.recognize import Recognizer
from tests.golden.models import FOLDER, NAMES, arrays_of, model_of

TOLERANCE = 2e-5
UTTERANCES = 4


def beams_of(name: str) -> dict[str, Any]:
    """By mode ("batch", "single", "max_seq_len_15"): for every utterance [labels as selected, length, score]."""
    beams: dict[str, Any] = json.loads((FOLDER / name / "beam.json").read_text())
    return beams


def audio_of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = arrays_of(name, "inputs")
    return torch.from_numpy(inputs["audio"]), torch.from_numpy(inputs["audio_len"]).long()


@torch.inference_mode()
def search(name: str, audio: torch.Tensor, lengths: torch.Tensor, beam: int, limit: int | None = None) -> NBest:
    model = model_of(name)
    encoded = model.encode(model.features(audio, lengths))
    if model.decoder is None:
        return ctc_paths(model.ctc_log_probs(encoded), encoded.lengths, beam=beam)
    limits = encoded.lengths if limit is None else torch.full_like(encoded.lengths, limit)
    found = beam_search(model.decoder, model.decoder.memory(encoded), limits, beam=beam, length_normalization=1.0)
    return NBest(found.labels, found.lengths, reference_scores(found, 1.0), found.steps)


def assert_equal(found: NBest, expected: list[list[tuple[list[int], int, float]]]) -> None:
    for utterance, hypotheses in enumerate(expected):
        for place, (labels, length, score) in enumerate(hypotheses):
            where = f"utterance {utterance}, hypothesis {place}"
            assert found.lengths[utterance, place] == length, where
            assert found.labels[utterance, place, : len(labels)].tolist() == labels, where
            assert found.scores[utterance, place].item() == pytest.approx(score, abs=TOLERANCE), where


@pytest.mark.parametrize("name", NAMES)
def test_batched_search_finds_the_reference_hypotheses(name: str) -> None:
    expected = beams_of(name)
    assert_equal(search(name, *audio_of(name), expected["beam"]), expected["batch"])


@pytest.mark.parametrize("name", NAMES)
def test_search_of_single_utterances_finds_the_reference_hypotheses(name: str) -> None:
    expected, (audio, lengths) = beams_of(name), audio_of(name)
    for i in range(UTTERANCES):
        found = search(name, audio[i : i + 1, : lengths[i]], lengths[i : i + 1], expected["beam"])
        assert_equal(found, expected["single"][i : i + 1])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ctc-only"])
def test_search_with_another_limit_finds_the_reference_hypotheses(name: str) -> None:
    expected = beams_of(name)
    assert_equal(search(name, *audio_of(name), expected["beam"], limit=15), expected["max_seq_len_15"])


def test_with_consistent_padding_the_batch_changes_nothing() -> None:
    audio, lengths = audio_of("base-bv24")
    utterances = [audio[i, : lengths[i]].numpy() for i in range(UTTERANCES)]
    tokenizer = CharTokenizer([chr(ord("a") + i) for i in range(38)])
    recognizer = Recognizer(model_of("base-bv24"), tokenizer, SearchConfig())
    together = recognizer.recognize(utterances, attention=True)
    for utterance, batched in zip(utterances, together, strict=True):
        alone = recognizer.recognize([utterance])[0]
        assert (alone.text, alone.labels) == (batched.text, batched.labels)
        assert [h.labels for h in alone.hypotheses] == [h.labels for h in batched.hypotheses]
        assert alone.score == pytest.approx(batched.score, abs=TOLERANCE)
        assert batched.attention is not None
        assert batched.attention.shape[0] == len(batched.labels) + 1
        assert batched.attention.sum(1) == pytest.approx(1.0, abs=1e-5)
