"""Tags of `recipes/tags/features.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "nopeaknorm": ("24gb-v6", {"audio.peak_normalize": False}),
    "mel40": ("24gb-v6", {"features.dim": 40}),
    "logbase10": ("24gb-v6", {"features.log_base": 10.0}),
    "featnorm_utt": ("24gb-v6", {"features.normalize.kind": "utterance", "features.normalize.variance": True}),
    "featnorm_global": ("24gb-v6", {"features.normalize.kind": "global", "features.normalize.utterances": 1000}),
    "featbn": (
        "24gb-v6",
        {"features.normalize.kind": "batch", "features.normalize.eps": 1e-3, "features.normalize.momentum": 0.1},
    ),
    "down4": ("24gb-v6", {"frontend.time_strides": (1, 2, 2)}),
    "convch8_16_32": ("24gb-v6", {"frontend.channels": (8, 16, 32)}),
    "batchpad": ("24gb-v6", {"frontend.padding": "batch", "encoder.convolution.padding": "batch"}),
}
