"""Which search a model gets, and whether each one works from the configuration on."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from aedo.data.text import CharTokenizer
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.search.config import FIELDS, NAMES, Kind, SearchConfig, kind_named
from aedo.search.recognize import Recognizer
from tests.score.runs import small_experiment

TOKENIZER = CharTokenizer("abc ")
NOISE = [np.random.default_rng(i).normal(size=16000 * n // 2).astype(np.float32) for i, n in enumerate((3, 1, 2))]


def recognizer(*, decoder: bool = True, layers: list[int] | None = None, **settings: Any) -> Recognizer:
    tree = small_experiment(decoder=decoder).model_dump()
    tree["ctc"]["layers"] = [1] if layers is None else layers
    torch.manual_seed(1)
    model = Experiment.model_validate(tree).build_model(TOKENIZER.size)
    return Recognizer(model, TOKENIZER, SearchConfig(beam=3, **settings))


def test_a_model_with_both_is_searched_jointly_unless_told_otherwise() -> None:
    assert recognizer().kind == "joint"
    assert recognizer(layers=[]).kind == "attention"
    assert recognizer(decoder=False).kind == "ctc_greedy"
    assert recognizer(kind="joint_time").kind == "joint_time"


def test_a_search_that_the_model_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match="no CTC head, which the search joint needs"):
        recognizer(layers=[], kind="joint")
    with pytest.raises(UserError, match="no decoder, which the search joint-time needs"):
        recognizer(decoder=False, kind="joint_time")
    with pytest.raises(ValidationError, match=r"search\.kind joint needs a CTC head"):
        small_experiment().with_("search.kind", "joint").with_("ctc.layers", ())
    with pytest.raises(UserError, match="--search magic: unknown"):
        kind_named("magic")


def test_every_kind_has_a_name_and_fields_that_exist() -> None:
    assert set(NAMES.values()) == set(get_args(Kind)) == set(FIELDS)
    assert {name for names in FIELDS.values() for name in names} <= set(SearchConfig.model_fields)


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "attention"},
        {"kind": "joint"},
        {"kind": "joint", "ctc_scale": 0.0},
        {"kind": "joint", "ctc_scale": 1.0},
        {"kind": "joint", "soft_collapse": 0.5, "length_reward": 0.5, "whole_beam": True},
        {"kind": "joint", "coverage_scale": 0.1, "monotonicity_scale": 0.1, "internal_lm_scale": 0.2},
        {"kind": "joint_time"},
        {"kind": "joint_time", "recombination": "max", "soft_collapse": 0.3, "skip_blank": 0.9, "prune": 9.0},
        {"kind": "ctc_prefix"},
        {"kind": "ctc_greedy"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_a_batch_gives_what_each_utterance_gives(settings: dict[str, Any]) -> None:
    one = recognizer(**settings)
    for audio, together in zip(NOISE, one.recognize(NOISE), strict=True):
        (alone,) = one.recognize([audio])
        assert alone.labels == together.labels
        assert alone.score == pytest.approx(together.score, abs=1e-4)


def test_a_list_is_complete_with_the_whole_beam() -> None:
    assert len(recognizer(kind="joint", whole_beam=True).recognize(NOISE[:1])[0].hypotheses) == 3
