"""Learning rates of the original: every schedule whose value is a function of the position in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aedo.recipes.names import resolve
from aedo.recipes.tags.learning_rate import NODES
from aedo.schedule import AnySchedule, ByEpoch, Leg, PiecewiseLinear, Progress, WarmupCosine, value_at

GOLDEN = json.loads((Path(__file__).parent / "data" / "schedules.json").read_text())
SCHEDULES: dict[str, dict[str, Any]] = GOLDEN["schedules"]


def name_of(golden: str) -> str | None:
    """The experiment of ours with this learning rate; None where the original has it in no experiment."""
    if golden.startswith("config_24gb") or golden == "config_11gb":
        return golden.removeprefix("config_").replace("_", "-")
    if golden.startswith("config_11gb_v6"):  # of four processes with 500 sub-epochs each
        return f"v6-11gb-f32-bs15k-accgrad1-wd1e_4-ep500-lrlin1e_5_{golden.rsplit('_', 1)[1]}"
    if golden.startswith("base-"):
        return golden
    if golden.startswith("lrlin_oclr_bs"):
        size, epochs = golden.removeprefix("lrlin_oclr_bs").split("k_ep")
        tags = ([] if size == "40" else [f"bs{size}k"]) + ([] if epochs == "2000" else [f"ep{epochs}"])
        return "-".join(["24gb-v6-lrlin1e_5", *tags])
    return None


def schedule_of(golden: str) -> AnySchedule:
    if name := name_of(golden):
        return resolve(name).train.learning_rate
    options = SCHEDULES[golden].get("options", {})
    if golden.startswith("exp2024"):
        nodes, values = options["learning_rate_piecewise_steps"], options["learning_rate_piecewise_values"]
        return PiecewiseLinear(unit="epoch", nodes=tuple(nodes), values=tuple(values))
    if golden.startswith("lrcos_ep"):
        return WarmupCosine(
            peak=options["max_lr"],
            final=options["min_lr"],
            warmup=options["num_warmup_epochs"],
            hold=options.get("num_constant_epochs", 0),
            decay=options["n_ep"],
        )
    legs = {
        "finetune_geomspace_50": (Leg(epochs=50, end=1e-7, spacing="geometric"),),
        "finetune_linspace_50": (Leg(epochs=50, end=1e-7),),
        "finetune_L3_5_150_L7_50": (Leg(epochs=150, end=1e-5), Leg(epochs=50, end=1e-7)),
        "finetune_L3_5_180_L6_20": (Leg(epochs=180, end=1e-5), Leg(epochs=20, end=1e-6)),
    }
    return ByEpoch(start=1e-3, legs=legs[golden])


@pytest.mark.parametrize("golden", SCHEDULES)
def test_learning_rate_is_that_of_the_original(golden: str) -> None:
    schedule, reference = schedule_of(golden), SCHEDULES[golden]
    for x, expected in zip(reference["at"], reference["lr"], strict=True):
        position = {
            "step": Progress(x, 0, 0.0, 0.0),
            "epoch": Progress(0, 0, x - 1.0, 0.0),  # the original counts sub-epochs from one
            "epoch_continuous": Progress(0, 0, x, 0.0),
        }[reference["x"]]
        assert value_at(schedule, position) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("golden", ["exp2024_lrlin_oclr_v4_ep100", "exp2024_lrlin_oclr_v3_15k_ep500"])
def test_the_curve_by_shares_of_the_training_is_that_by_sub_epochs(golden: str) -> None:
    by_share, epochs = resolve("24gb-v6-lrlinfrac1e_5").train.learning_rate, int(golden.rsplit("ep", 1)[1])
    for x, expected in zip(SCHEDULES[golden]["at"], SCHEDULES[golden]["lr"], strict=True):
        assert value_at(by_share, Progress(0, 0, 0.0, x / epochs)) == pytest.approx(expected, rel=1e-11)


def test_the_table_of_steps_is_that_of_the_original() -> None:
    assert {f"{size},{epochs}": list(steps) for (size, epochs), steps in NODES.items()} == GOLDEN[
        "lrlin_oclr_steps_by_bs_nep"
    ]
