"""Tags of `recipes/tags/augment.py`, each with what it sets."""

from tests.recipes.tags import Sets

MASKS = "augment.specaugment"

WEI = {
    f"{MASKS}.steps": (0, 2000, 2000),
    f"{MASKS}.frames_per_mask": 21,
    f"{MASKS}.short_time_masks": 1,
    f"{MASKS}.time_factors": (0.5, 1, 1),
    f"{MASKS}.min_time_masks": (0, 0, 0),
    f"{MASKS}.max_time_width": 15,
    f"{MASKS}.max_band_masks": (2, 5, 5),
    f"{MASKS}.min_band_masks": (0, 0, 0),
    f"{MASKS}.max_band_width": 4,
}

SPELLED: dict[str, Sets] = {
    "speedpertv2": ("24gb-v6", {"augment.speed.factors": (0.7, 0.8, 0.9, 1.0, 1.1)}),
    "speedpertv3": ("24gb-v6", {"augment.speed.factors": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)}),
    "nospeedpert": ("24gb-v6", {"augment.speed": None}),
    "specaugorig": ("24gb-v3", {f"{MASKS}.frames_per_mask": 100, f"{MASKS}.max_band_width": 16}),
    "specaugv2": ("24gb-v6", {f"{MASKS}.frames_per_mask": 200, f"{MASKS}.max_band_width": 10}),
    "specaugsteps0_1000_2000": ("24gb-v6", {f"{MASKS}.steps": (0, 1000, 2000)}),
    "specauglen": ("24gb-v6", {f"{MASKS}.count_from": "utterance"}),
    "mixup": (
        "24gb-v6",
        {
            "augment.mixup.buffer_frames": 1_000_000,
            "augment.mixup.apply_prob": 1.0,
            "augment.mixup.max_num_mix": 4,
            "augment.mixup.lambda_min": 0.1,
            "augment.mixup.lambda_max": 0.4,
        },
    ),
    "rndresize09_12": (
        "24gb-v6",
        {"augment.resize.low": 0.9, "augment.resize.high": 1.2, "augment.resize.lengthen_up_to": None},
    ),
    "rndresize08_105": ("24gb-v6", {"augment.resize.low": 0.8, "augment.resize.high": 1.05}),
    "rndresizeguard250": (
        "24gb-v6-rndresize08_12",
        {"augment.resize.high": 1.2, "augment.resize.lengthen_up_to": 250},
    ),
    "rndframedrop01": ("24gb-v6", {"augment.frame_drop.rate": 0.1, "augment.frame_drop.keep": 10}),
    "twarp": ("24gb-v6", {"augment.time_warp.kind": "centre", "augment.time_warp.width": 5}),
    "twarp40": ("24gb-v6", {"augment.time_warp.width": 40, "augment.time_warp.interpolation": "cubic"}),
    "oldtwarp": (
        "24gb-v6",
        {
            "augment.time_warp.kind": "flow",
            "augment.time_warp.std.nodes": (2_000, 10_000, 100_000),
            "augment.time_warp.std.values": (0, 10, 40, 90),
            "augment.time_warp.spacing": 10,
        },
    ),
    "specaugweia": ("24gb-v6", WEI),
    "specaugwei": ("24gb-v6", WEI),
    "specaugespnet": (
        "24gb-v6",
        {
            f"{MASKS}.steps": (0, 0, 0),
            f"{MASKS}.frames_per_mask": None,
            f"{MASKS}.short_time_masks": 10,
            f"{MASKS}.time_factors": (1, 1, 1),
            f"{MASKS}.min_time_masks": (10, 10, 10),
            f"{MASKS}.max_time_share": 0.05,
            f"{MASKS}.min_width": 0,
            f"{MASKS}.max_band_masks": (2, 2, 2),
            f"{MASKS}.min_band_masks": (2, 2, 2),
            f"{MASKS}.max_band_width": 27,
            "augment.time_warp.width": 5,
        },
    ),
    "nospecaug": ("24gb-v6", {MASKS: None}),
}
