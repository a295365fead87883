"""Tags of `recipes/tags/losses.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "aux4812": ("24gb-v6", {"ctc.layers": (4, 8, 12)}),
    "aux4_12ff": ("24gb-v6", {"ctc.layers": (4, 12)}),
    "auxscale01_02": ("24gb-v6", {"ctc.scales": (0.1, 0.2)}),
    "auxscale03": ("24gb-v6", {"ctc.scales": 0.3}),
    "aedscale07": ("24gb-v6", {"loss.decoder_scale": 0.7}),
    "auxscaleramp1_03_100k": ("24gb-v6", {"ctc.scales.nodes": (100_000,), "ctc.scales.values": (1, 0.3)}),
    "aedscaleramp01_1_20k": (
        "24gb-v6",
        {"loss.decoder_scale.nodes": (20_000,), "loss.decoder_scale.values": (0.1, 1)},
    ),
    "auxtied": ("24gb-v6", {"ctc.shared": True}),
    "ctcls01": ("24gb-v6", {"ctc.label_smoothing": 0.1, "ctc.smooth_blank": True, "loss.label_smoothing": 0.1}),
    "ctclsx01": ("24gb-v6", {"ctc.label_smoothing": 0.1, "ctc.smooth_blank": False, "loss.smooth_eos": True}),
    "lsx02": (
        "24gb-v6",
        {
            "loss.label_smoothing": 0.2,
            "loss.smooth_eos": False,
            "ctc.label_smoothing": 0.2,
            "ctc.smooth_blank": False,
        },
    ),
    "lsxx01": (
        "24gb-v6",
        {"loss.label_smoothing": 0.1, "loss.smooth_eos": True, "ctc.label_smoothing": 0.1, "ctc.smooth_blank": False},
    ),
    "ctceos": ("24gb-v6", {"ctc.eos": True}),
    "ctconly": ("24gb-v6", {"decoder": None, "ctc.layers": (4, 8, 12)}),
    "lossnorm_sum": ("24gb-v6", {"loss.normalization": "sum"}),
    "lossnorm_seqs": ("24gb-v6", {"loss.normalization": "sequences"}),
    "lossnorm_acc": ("24gb-v6", {"loss.normalization": "accumulated"}),
    "lossnorm_frames": ("24gb-v6-lossnorm_sum", {"loss.normalization": "labels"}),
}
