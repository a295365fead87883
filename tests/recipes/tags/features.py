"""Tags of `recipes/tags/features.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "nopeaknorm": ("24gb-v6", {"audio.peak_normalize": False}),
    "mel40": ("24gb-v6", {"features.dim": 40}),
    "logbase10": ("24gb-v6", {"features.log_base": 10.0}),
    "down4": ("24gb-v6", {"frontend.time_strides": (1, 2, 2)}),
    "convch8_16_32": ("24gb-v6", {"frontend.channels": (8, 16, 32)}),
    "batchpad": ("24gb-v6", {"frontend.padding": "batch", "encoder.convolution.padding": "batch"}),
}
