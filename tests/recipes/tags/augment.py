"""Tags of `recipes/tags/augment.py`, each with what it sets."""

from tests.recipes.tags import Sets

MASKS = "augment.specaugment"

SPELLED: dict[str, Sets] = {
    "speedpertv2": ("24gb-v6", {"augment.speed.factors": (0.7, 0.8, 0.9, 1.0, 1.1)}),
    "speedpertv3": ("24gb-v6", {"augment.speed.factors": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)}),
    "nospeedpert": ("24gb-v6", {"augment.speed": None}),
    "specaugorig": ("24gb-v3", {f"{MASKS}.frames_per_mask": 100, f"{MASKS}.max_band_width": 16}),
    "specaugv2": ("24gb-v6", {f"{MASKS}.frames_per_mask": 200, f"{MASKS}.max_band_width": 10}),
    "specaugsteps0_1000_2000": ("24gb-v6", {f"{MASKS}.steps": (0, 1000, 2000)}),
    "specauglen": ("24gb-v6", {f"{MASKS}.count_from": "utterance"}),
    "nospecaug": ("24gb-v6", {MASKS: None}),
}
