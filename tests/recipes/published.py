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
ONE_BATCH = SMALL_GPU | {"train.accumulate": 1.0, "train.epochs": 500, DECAY: 1e-4}
"""One batch an update, a quarter of 2000 sub-epochs, weight decay 1e-4."""
FOUR_GPUS = ONE_BATCH | {"train.devices": 4}
FOUR_GPUS_PLAIN = {path: value for path, value in FOUR_GPUS.items() if path != DECAY}
MIXUP: dict[str, Any] = {
    "buffer_frames": 1_000_000,
    "apply_prob": 1.0,
    "max_num_mix": 4,
    "lambda_min": 0.1,
    "lambda_max": 0.4,
}


def fine_tuned(epochs: int, **values: Any) -> dict[str, Any]:
    """So many more sub-epochs, from the peak geometrically down to 1e-7; masks at full strength from the start."""
    rate = {
        "start": "peak",
        "hold": 0,
        "turn_epochs": 0,
        "turn": 1e-5,
        "final": 1e-7,
        "spacing": "geometric",
        "by": "epoch",
    }
    return {"train.epochs": epochs, "train.finetune": rate | values, f"{MASKS}.steps": (0, 0, 0)}


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

OPTIONS = {
    "base-24gb-v2-lr1e_3-nogradscaler": Published(
        "24gb-v2", f"{TABLE}: 7.24 vs 7.44", {f"{RATE}.peak": 1e-3, "train.grad_scaler": "auto"}
    ),
    "base-24gb-v3-lr1e_3-adam": Published(
        "24gb-v3", f"{TAGS}: 7.56 vs 7.01", {f"{RATE}.peak": 1e-3, "train.optimizer.kind": "adam"}
    ),
    "base-24gb-v3-lr1e_3-adamw-wd1e_3": Published(
        "24gb-v3", f"{TAGS}: 7.01; its base has adamw", {f"{RATE}.peak": 1e-3, DECAY: 1e-3}
    ),
    "base-24gb-v5-embInit1": Published("24gb-v5", f"{TAGS}: 6.51 vs 6.35", {"decoder.embedding_std": 1.0}),
    "base-24gb-v5-mixup": Published("24gb-v5", f"{TAGS}: 6.36 vs 6.35", {"augment.mixup": MIXUP}),
    "base-24gb-v6-warmup100k-mixup": Published(
        "24gb-v6", f"{TAGS}: 5.90 vs 5.84", {f"{RATE}.warmup": 100_000, "augment.mixup": MIXUP}
    ),
    "base-24gb-v4-gn01": Published("24gb-v4", f"{TAGS}: does not converge", {"train.gradients.noise": 0.1}),
    "base-24gb-v6-lrlin1e_5_450k-trafodec6": Published(
        "24gb-v6",
        f"{TAGS}: 5.60 vs 5.44",
        {
            RATE: peak_at(450_000),
            "decoder": {
                "kind": "transformer",
                "layers": 6,
                "dim": 512,
                "heads": 8,
                "feed_forward": {"dim": 2048, "activation": "relu", "bias": True},
                "norm": "layer",
                "self_attention_bias": True,
                "rotary": False,
                "shared_embedding": False,
                "embedding_scale": 1.0,
                "embedding_std": None,
                "layer_drop": 0.0,
                "input_dropout": 0.0,
                "dropout": {"rate": 0.1, "share": "batch_time"},
                "attention_dropout": 0.1,
                "attention_dropout_share": "none",
                "attention_fused": "evaluation",
                "auxiliary": (),
            },
        },
    ),
}

FINE = {
    f"base-24gb-v3-lr1e_3-{tags}": Published(
        "24gb-v3", f"table of fine-tuning: {result}", {f"{RATE}.peak": 1e-3, **fine_tuned(epochs, **values)}
    )
    for tags, result, epochs, values in (
        ("finetune50", "7.22 from sub-epoch 1280", 50, {}),
        ("finetune100", "6.93", 100, {}),
        ("finetune200", "6.84", 200, {}),
        ("finetune200-ftfinal1e_6", "6.83", 200, {"final": 1e-6}),
        ("finetune200-ftlin", "6.95", 200, {"spacing": "linear"}),
        ("finetune200-ftlin-ftfinal1e_6", "6.94", 200, {"spacing": "linear", "final": 1e-6}),
        ("finetune150_50", "6.89", 200, {"spacing": "linear", "turn_epochs": 150}),
        ("finetune180_20", "6.87", 200, {"spacing": "linear", "turn_epochs": 180}),
    )
} | {
    "base-24gb-v4-finetune200-ftfinal1e_6": Published(
        "24gb-v4", "table of fine-tuning: 6.84", fine_tuned(200, final=1e-6)
    )
}

STEPS_15K = rise_and_fall(295_000, 590_000, 652_000)

SEVERAL = {
    "v6-11gb-f32-bs15k-accgrad4": Published("24gb-v6", DEVICES, SMALL_GPU | {"train.accumulate": 4.0}),
    "11gb-v6-f32-bs15k-accgrad4-mgpu": Published(
        "24gb-v6", f"{DEVICES}: 6.11 on two", SMALL_GPU | {"train.accumulate": 4.0, "train.devices": 2}
    ),
    "v6-11gb-f32-bs15k-accgrad1-wd1e_4-lrlin1e_5_295k": Published(
        "24gb-v6", f"{DEVICES}: the steps are those of 500 sub-epochs", ONE_BATCH | {RATE: STEPS_15K}
    ),
    "v6-11gb-f32-bs15k-accgrad4-mgpu4-lrlin1e_5_295k": Published(
        "24gb-v6", f"{DEVICES}: 5.44", FOUR_GPUS_PLAIN | {"train.accumulate": 4.0, RATE: STEPS_15K}
    ),
    "v6-11gb-f32-bs15k-accgrad4-mgpu4-wd1e_4-lrlin1e_5_295k": Published(
        "24gb-v6", f"{DEVICES}: 5.60", FOUR_GPUS | {"train.accumulate": 4.0, RATE: STEPS_15K}
    ),
    "v6-11gb-f32-bs15k-accgrad1-mgpu4-wd1e_4-lrlin1e_5_295k": Published(
        "24gb-v6", f"{DEVICES}: 5.54", FOUR_GPUS | {RATE: STEPS_15K}
    ),
    "v6-11gb-f32-bs15k-accgrad4-mgpu4-pavg100-wd1e_4-lrlin1e_5_295k": Published(
        "24gb-v6",
        f"{DEVICES}: 5.83",
        FOUR_GPUS | {"train.accumulate": 4.0, "train.sync_parameters": 100, RATE: STEPS_15K},
    ),
    "v6-11gb-f32-bs15k-accgrad1-mgpu4-pavg100-wd1e_4-lrlin1e_5_100k": Published(
        "24gb-v6",
        f"{DEVICES}: the peak earlier",
        FOUR_GPUS | {"train.sync_parameters": 100, RATE: rise_and_fall(100_000, 590_000, 652_000)},
    ),
    **{
        f"v6-11gb-f32-bs15k-accgrad1-mgpu4-pavg{steps}-wd{spelled}-lrlin1e_5_295k": Published(
            "24gb-v6",
            f"{DEVICES}: {result}",
            FOUR_GPUS | {"train.sync_parameters": steps, DECAY: decay, RATE: STEPS_15K},
        )
        for steps, spelled, decay, result in (
            (4, "1e_4", 1e-4, "5.48"),
            (10, "1e_4", 1e-4, "5.63"),
            (100, "1e_4", 1e-4, "5.53, again 5.67 and 5.59"),
            (500, "1e_4", 1e-4, "5.70"),
            (1000, "1e_4", 1e-4, "5.66"),
            (100, "1e_5", 1e-5, "5.61"),
        )
    },
    "v6-11gb-f32-bs15k-accgrad1-mgpu4-pavg100-lrlin1e_5_295k": Published(
        "24gb-v6",
        f"{DEVICES}: 5.63 with the base's weight decay",
        FOUR_GPUS_PLAIN | {"train.sync_parameters": 100, RATE: STEPS_15K},
    ),
}


def at_widths(rate: float) -> dict[str, Any]:
    """A rate of dropout that grows with the width of the encoder: from a half to the whole, as the layers do."""
    values = tuple(float(f"{rate * width:.12g}") for width in (0.5, 0.6, 0.8, 1.0))
    return {"kind": "steps", "unit": "epoch", "nodes": (10.0, 20.0, 30.0), "values": values}


SWITCHBOARD = (
    "conformer_ln_pre10_d384_h6_blstmf2_fix245_wdro_specaugweia_attdrop01_posdrop01_aux48ff_mhsapinit05_lsxx01"
)

OLDER = {
    SWITCHBOARD: Published(
        "conformer",
        "example of an older name, of a transducer on Switchboard: 17.4 / 14.7 / 18.0 (Hub5'00 / 01, RT03S)",
        {
            "frontend": {"kind": "blstm", "units": 512, "time_pools": (3, 2), "channels": (), "band_pool": 2},
            "encoder.dim": 384,
            "encoder.feed_forward.dim": 1536,
            "encoder.attention.heads": 6,
            "encoder.attention.init_scale": 0.5,
            "encoder.attention.dropout": at_widths(0.1),
            POSITION: at_widths(0.1),
            "encoder.dropout.rate": at_widths(0.1),
            "encoder.dropout_behind_attention": True,
            "encoder.convolution.norm": {"kind": "layer", "eps": 1e-6},
            "encoder.growth": ((10, 2), (10, 4), (10, 8)),
            "encoder.growth_unit": "epoch",
            "encoder.width": at_widths(1.0),
            "ctc.layers": (4, 8),
            "ctc.label_smoothing": 0.1,
            "ctc.smooth_blank": False,
            "loss.label_smoothing": 0.1,
            "train.optimizer.weight_decay.readout": True,
            # At most T // 21 masks over time, up to 15 wide, at most 5 over bands, up to 4 wide; half before 2000.
            f"{MASKS}.steps": (0, 2000, 2000),
            f"{MASKS}.frames_per_mask": 21,
            f"{MASKS}.short_time_masks": 1,
            f"{MASKS}.time_factors": (0.5, 1.0, 1.0),
            f"{MASKS}.min_time_masks": (0, 0, 0),
            f"{MASKS}.max_time_width": 15,
            f"{MASKS}.max_band_masks": (2, 5, 5),
            f"{MASKS}.min_band_masks": (0, 0, 0),
            f"{MASKS}.max_band_width": 4,
        },
    )
}

LATER = {
    "espnet-conformer10": Published("espnet-conformer10", "ESPnet's recipe for LibriSpeech", {}),
    "large": Published("large", "later work on the same family: 4.71, jointly with CTC 4.06", {}),
}
"""Their own numbers are in `test_later_bases.py`."""

NAMES: dict[str, Published] = BASES | LATER | RATES | TAGGED | OPTIONS | FINE | SEVERAL | OLDER
