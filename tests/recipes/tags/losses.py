"""Tags of `recipes/tags/losses.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "aux4812": ("24gb-v6", {"ctc.layers": (4, 8, 12)}),
    "aux4_12ff": ("24gb-v6", {"ctc.layers": (4, 12)}),
    "auxscale01_02": ("24gb-v6", {"ctc.scales": (0.1, 0.2)}),
    "auxscale03": ("24gb-v6", {"ctc.scales": 0.3}),
    "aedscale07": ("24gb-v6", {"loss.decoder_scale": 0.7}),
    "ctceos": ("24gb-v6", {"ctc.eos": True}),
    "ctconly": ("24gb-v6", {"decoder": None, "ctc.layers": (4, 8, 12)}),
    "lossnorm_sum": ("24gb-v6", {"loss.normalization": "sum"}),
    "lossnorm_frames": ("24gb-v6-lossnorm_sum", {"loss.normalization": "labels"}),
}
