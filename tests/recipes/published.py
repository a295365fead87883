"""Every published name: where it comes from, its base, and by hand all that it says beyond the base.

The names are those of the reference's experiments; their numbers are written here from its descriptions, not taken from
the code.  A path may name a whole part (a learning rate of another kind); its fields are then compared as a whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Published(NamedTuple):
    base: str
    where: str
    """Which table or note of the reference names it, and the word error rate on dev-other it reports."""
    sets: dict[str, Any]
    """By dotted path: all values in which it differs from its base."""


RATE, DECAY, SPARED = (
    "train.learning_rate",
    "train.optimizer.weight_decay.value",
    "train.optimizer.weight_decay.exclude",
)
MASKS, POSITION, SHARE = (
    "augment.specaugment",
    "encoder.attention.position.dropout",
    "encoder.attention.dropout_share",
)
NO_NORMS = ("batch_norm", "layer_norm", "embedding", "relative_position")
NO_TABLES = ("embedding", "relative_position")
TABLE, ABLATION, SCHEDULES = "table of results", "ablation of the peak's position", "notes on learning rates"
TAGS, DEVICES = "list of tags", "table of trainings on several devices"


def lines(nodes: tuple[int, int, int], values: tuple[float, float, float, float]) -> dict[str, Any]:
    """A learning rate of straight lines in micro-steps, as it stands in the tree."""
    return {"kind": "piecewise_linear", "unit": "micro_step", "nodes": nodes, "values": values}


def peak_at(step: int, scale: float = 1.0) -> dict[str, Any]:
    """With batches of 400 s: up to `step`, down to 900k, a tail to 982k."""
    return lines((step, 900_000, 982_000), (1e-5 * scale, 1e-3 * scale, 1e-5 * scale, 1e-6 * scale))


def rise_and_fall(*nodes: int) -> dict[str, Any]:
    return lines(nodes, (1e-5, 1e-3, 1e-5, 1e-6))  # type: ignore[arg-type]


def frames(count: int) -> dict[str, Any]:
    """Batches of so many feature frames, each of 160 samples."""
    return {"batch.max_samples": float(160 * count)}


SMALL_GPU: dict[str, Any] = {"train.precision": "float32", "batch.max_samples": 2_400_000.0}
"""v6 on GPUs of 11 GB: float32 and batches of 15k frames, each of 160 samples."""
FOUR_GPUS = SMALL_GPU | {"train.accumulate": 1.0, "train.epochs": 500, DECAY: 1e-4}
"""One batch an update, a quarter of 2000 sub-epochs, weight decay 1e-4."""

BASES = {
    f"base-{base}": Published(base, f"the reference's configurations{result}", {})
    for base, result in {
        "11gb": ", first of all",
        "24gb": ", converged and stagnated",
        "24gb-v2": ", with lr1e_3 7.44",
        "24gb-v3": ", diverges without lr1e_3",
        "24gb-v4": ": 7.07",
        "24gb-v5": ": 6.35",
        "24gb-v6": ": 6.30",
    }.items()
}

RATES = {
    "base-24gb-v2-lr1e_3": Published("24gb-v2", f"{TABLE}: 7.44", {f"{RATE}.peak": 1e-3}),
    "base-24gb-v3-lr1e_3": Published("24gb-v3", f"{TABLE}: 7.01", {f"{RATE}.peak": 1e-3}),
    "base-24gb-v3-lr09e_3": Published("24gb-v3", f"{TABLE}: 6.99", {f"{RATE}.peak": 0.9e-3}),
    "base-24gb-v4-lr09e_3": Published("24gb-v4", f"{TABLE}: 6.99", {f"{RATE}.peak": 0.9e-3}),
    "base-24gb-v4-lrdecnorm40k": Published("24gb-v4", f"{SCHEDULES}: 6.89", {f"{RATE}.norm": 40_000}),
    "base-24gb-v4-lrcos": Published(
        "24gb-v4",
        f"{SCHEDULES}: 7.46",
        {
            RATE: {
                "kind": "waving_inverse_sqrt",
                "peak": 1e-3,
                "warmup": 20_000,
                "norm": 20_000,
                "period": 10_000,
                "floor": 1e-4,
            }
        },
    ),
    "base-24gb-v4-lrlin": Published(
        "24gb-v4", f"{SCHEDULES}: 6.48", {RATE: lines((20_000, 900_000, 982_000), (0.0, 1e-3, 1e-5, 1e-6))}
    ),
    "base-24gb-v4-lrlin1e_5_450k": Published("24gb-v4", f"{SCHEDULES}: 5.9", {RATE: peak_at(450_000)}),
    "base-24gb-v6-warmup100k": Published("24gb-v6", f"{SCHEDULES}: 5.84", {f"{RATE}.warmup": 100_000}),
    "base-24gb-v6-warmup450k": Published("24gb-v6", f"{SCHEDULES}: 5.67", {f"{RATE}.warmup": 450_000}),
    "base-24gb-v6-lrlin1e_5_20k": Published("24gb-v6", f"{ABLATION}: 5.87", {RATE: peak_at(20_000)}),
    "base-24gb-v6-lrlin1e_5_50k": Published("24gb-v6", f"{ABLATION}: 5.82", {RATE: peak_at(50_000)}),
    "base-24gb-v6-lrlin1e_5_100k": Published("24gb-v6", f"{ABLATION}: 5.55", {RATE: peak_at(100_000)}),
    "base-24gb-v6-lrlin1e_5_450k": Published("24gb-v6", f"{ABLATION}: 5.44", {RATE: peak_at(450_000)}),
    "base-24gb-v6-lrlin1e_5_600k": Published("24gb-v6", f"{ABLATION}: 5.41", {RATE: peak_at(600_000)}),
    "base-24gb-v6-lrlin1e_5_800k": Published("24gb-v6", f"{ABLATION}: 5.60", {RATE: peak_at(800_000)}),
    "base-24gb-v6-lrlin2e_5_450k": Published("24gb-v6", f"{SCHEDULES}: no better", {RATE: peak_at(450_000, 2.0)}),
    "base-24gb-v6-lrlin1e_5_450k-posdrop01": Published(
        "24gb-v6", "example of a name; its base has posdrop01", {RATE: peak_at(450_000)}
    ),
    "base-24gb-v6-bs30k-lrlin1e_5_587k": Published(
        "24gb-v6",
        "table of steps by batch size and length",
        {**frames(30_000), RATE: rise_and_fall(587_000, 1_174_000, 1_305_000)},
    ),
    "base-24gb-v6-bs8k-lrlin1e_5_558k": Published(
        "24gb-v6",
        "table of steps by batch size and length: 500 sub-epochs",
        {**frames(8_000), "train.epochs": 500, RATE: rise_and_fall(558_000, 1_117_000, 1_242_000)},
    ),
    "base-24gb-v6-lrlin1e_5_450k-wd1e_3": Published(
        "24gb-v6", "example of a name", {RATE: peak_at(450_000), DECAY: 1e-3}
    ),
}

TAGGED = {
    "base-24gb-v3-lr1e_3-wd1e_3": Published("24gb-v3", f"{TAGS}: 7.01", {f"{RATE}.peak": 1e-3, DECAY: 1e-3}),
    "base-24gb-v3-lr1e_3-wdblacklist": Published(
        "24gb-v3", f"{TAGS}: 7.07, the next base", {f"{RATE}.peak": 1e-3, SPARED: NO_NORMS}
    ),
    "base-24gb-v3-lr1e_3-specaugorig": Published(
        "24gb-v3",
        f"{TAGS}: 6.22, the largest gain of one tag",
        {f"{RATE}.peak": 1e-3, f"{MASKS}.frames_per_mask": 100, f"{MASKS}.max_band_width": 16},
    ),
    "base-24gb-v3-lr1e_3-aux48ff": Published("24gb-v3", f"{TAGS}; its base has these heads", {f"{RATE}.peak": 1e-3}),
    "base-24gb-v3-lr1e_3-aux4812ff": Published("24gb-v3", TAGS, {f"{RATE}.peak": 1e-3, "ctc.layers": (4, 8, 12)}),
    "base-24gb-v3-lr1e_3-aux12": Published("24gb-v3", f"{TAGS}: failed", {f"{RATE}.peak": 1e-3, "ctc.layers": (12,)}),
    "base-24gb-v3-lr1e_3-auxscale01_02-aedscale07": Published(
        "24gb-v3",
        "notes on scales of losses: 8.21 vs 7.01",
        {f"{RATE}.peak": 1e-3, "ctc.scales": (0.1, 0.2), "loss.decoder_scale": 0.7},
    ),
    "base-24gb-v4-posdrop01": Published("24gb-v4", f"{TAGS}: 7.02 vs 7.07", {POSITION: 0.1}),
    "base-24gb-v4-wdblacklist2": Published("24gb-v4", f"{TAGS}: 6.85", {SPARED: NO_TABLES}),
    "base-24gb-v4-attdropfixbc": Published("24gb-v4", f"{TAGS}: 7.02 vs 7.07", {SHARE: "none"}),
    "base-24gb-v4-bs30k-accgrad3": Published(
        "24gb-v4", f"{TAGS}: 7.19 vs 7.07", {**frames(30_000), "train.accumulate": 3.0}
    ),
    "base-24gb-v4-bs30k-accgrad3-nodropbc": Published(
        "24gb-v4",
        f"{TAGS}: 7.21 vs 7.19",
        {
            **frames(30_000),
            "train.accumulate": 3.0,
            "encoder.dropout.share": "none",
            "decoder.readout_dropout.share": "none",
            "decoder.zone_share": "none",
        },
    ),
    "base-24gb-v4-pretrain": Published(
        "24gb-v4", f"{TAGS}: 7.30 vs 7.07", {"encoder.growth": ((4_000, 2), (2_000, 4), (2_000, 8))}
    ),
    "base-24gb-v4-posdrop01-specaugorig-pretrain": Published(
        "24gb-v4",
        f"{TAGS}: 6.52",
        {
            POSITION: 0.1,
            f"{MASKS}.frames_per_mask": 100,
            f"{MASKS}.max_band_width": 16,
            "encoder.growth": ((4_000, 2), (2_000, 4), (2_000, 8)),
        },
    ),
    "base-24gb-v6-zoneoutput": Published("24gb-v6", "list of ideas", {"decoder.zoned_output": True}),
}

SEVERAL = {
    "v6-11gb-f32-bs15k-accgrad4": Published("24gb-v6", f"{DEVICES}", SMALL_GPU | {"train.accumulate": 4.0}),
    "v6-11gb-f32-bs15k-accgrad1-wd1e_4-lrlin1e_5_295k": Published(
        "24gb-v6",
        f"{DEVICES}: the steps are those of 500 sub-epochs",
        FOUR_GPUS | {RATE: rise_and_fall(295_000, 590_000, 652_000)},
    ),
}

NAMES: dict[str, Published] = BASES | RATES | TAGGED | SEVERAL
