"""Bases: their whole trees, and the numbers of the reference's configurations."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from aedo.experiment import Experiment
from aedo.recipes.bases import ALIASES, BASES, FRAME, PARENTS
from aedo.recipes.names import diff, resolve
from tests.recipes.regenerate import FOLDER, text_of


@pytest.mark.parametrize("base", BASES)
def test_the_whole_tree_is_the_recorded_one(base: str) -> None:
    """Where a changed default is meant: python -m tests.recipes.regenerate."""
    assert text_of(base) == (FOLDER / f"{base}.json").read_text(encoding="utf-8")


def test_no_record_is_left_of_a_base_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(BASES)


@pytest.mark.parametrize("base", BASES)
def test_the_recorded_tree_is_the_experiment(base: str) -> None:
    assert Experiment.model_validate_json((FOLDER / f"{base}.json").read_text(encoding="utf-8")) == resolve(base)


def table(base: str) -> dict[str, Any]:
    """The fields in which the reference's configurations differ."""
    e = resolve(base)
    rate, masks = e.train.learning_rate, e.augment.specaugment
    assert rate.kind == "warmup_inverse_sqrt"
    assert masks is not None
    return {
        "frames": e.batch.max_samples / FRAME,
        "accumulate": e.train.accumulate,
        "precision": e.train.precision,
        "scaler": e.train.grad_scaler,
        "eps": e.train.optimizer.eps,
        "rate": (rate.peak, rate.warmup, rate.norm),
        "masks": (masks.steps, masks.frames_per_mask, masks.max_band_width, masks.max_time_width),
        "clip": e.train.gradients.clip_norm,
        "spared": e.train.optimizer.weight_decay.exclude,
        "position dropout": e.encoder.attention.position.dropout,
        "shared attention dropout": e.encoder.attention.dropout_share == "all_but_keys",
    }


def test_each_base_of_the_reference_differs_from_the_one_before_as_published() -> None:
    expected: dict[str, Any] = {
        "frames": 15_000,
        "accumulate": 4,
        "precision": "float32",
        "scaler": "auto",
        "eps": 1e-8,
        "rate": (2.5e-3, 40_000, 40_000),
        "masks": ((10_000, 20_000, 40_000), 100, 16, 20),
        "clip": None,
        "spared": (),
        "position dropout": 0.0,
        "shared attention dropout": True,
    }
    assert table("11gb") == expected
    late = (5_000, 15_000, 25_000)
    expected |= {"frames": 40_000, "accumulate": 2, "precision": "bfloat16", "rate": (2e-3, 20_000, 20_000)}
    expected |= {"masks": (late, 100, 16, 20), "scaler": "on"}
    assert table("24gb") == expected
    expected |= {"eps": 1e-16, "masks": (late, 200, 10, 20)}
    assert table("24gb-v2") == expected
    expected |= {"rate": (2.5e-3, 20_000, 20_000), "clip": 5.0, "scaler": "auto"}
    assert table("24gb-v3") == expected
    expected |= {"rate": (1e-3, 20_000, 20_000)}
    expected |= {"spared": ("batch_norm", "layer_norm", "embedding", "relative_position")}
    assert table("24gb-v4") == expected
    expected |= {"spared": ("embedding", "relative_position"), "masks": (late, 100, 16, 20)}
    expected |= {"position dropout": 0.1, "shared attention dropout": False}
    assert table("24gb-v5") == table("24gb-v6") == expected
    (growth,) = diff("24gb-v5", "24gb-v6")
    assert (growth.path, growth.left, growth.right) == ("encoder.growth", ((4_000, 2), (2_000, 4), (2_000, 8)), ())


@pytest.mark.parametrize("base", [base for base in BASES if "gb" in base])
def test_what_all_bases_of_the_reference_share(base: str) -> None:
    e = resolve(base)
    assert (e.tokenizer.kind, e.tokenizer.size) == ("bpe", 10_025)
    assert (e.order.kind, e.order.bin_size, e.order.partition, e.order.short_first_epochs) == ("laplace", 1000, 20, 5)
    assert (e.batch.max_utterances, e.batch.max_labels, e.train.epochs) == (200, 75, 2000)
    assert e.augment.speed is not None
    assert e.augment.speed.factors == (0.9, 1.0, 1.1)
    assert e.augment.specaugment is not None
    assert e.augment.specaugment.count_from == "batch"
    assert (e.encoder.layers, e.encoder.dim, e.encoder.attention.heads) == (12, 512, 8)
    assert (e.ctc.layers, e.ctc.scales, e.loss.decoder_scale, e.loss.label_smoothing) == ((4, 8), 1.0, 1.0, 0.1)
    assert e.train.optimizer.weight_decay.value == 1e-6
    assert e.search.beam == 12


@pytest.mark.parametrize("base", BASES)
def test_our_bases_leave_out_the_mistakes_of_the_original(base: str) -> None:
    e = resolve(base)
    assert not e.ctc.eos
    assert e.frontend.padding == e.encoder.convolution.padding == "consistent"


def test_the_small_bases_differ_from_24gb_v6_by_values_only() -> None:
    for base in ("tiny", "an4"):
        structural = {"tokenizer.kind", "train.learning_rate"}
        whole_parts = [one.path for one in diff("24gb-v6", base) if isinstance(one.right, dict)]
        assert set(whole_parts) <= structural


@pytest.mark.parametrize("base", BASES)
def test_every_base_says_what_it_is(base: str) -> None:
    assert len(inspect.getdoc(BASES[base]) or "") > 40
    assert base == "11gb" or PARENTS[base] in BASES


def test_aliases_lead_to_bases() -> None:
    assert set(ALIASES.values()) <= set(BASES)
    assert not set(ALIASES) & set(BASES)
