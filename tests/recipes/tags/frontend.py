"""Tags of `recipes/tags/frontend.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "blstmf2": (
        "24gb-v6",
        {"frontend.kind": "blstm", "frontend.units": 512, "frontend.time_pools": (3, 2), "frontend.channels": ()},
    ),
    "blstmf2d64": ("tiny", {"frontend.units": 64, "frontend.channels": ()}),
    "cnnblstmf2": ("24gb-v6", {"frontend.kind": "blstm", "frontend.channels": (32, 32), "frontend.band_pool": 2}),
    "downsched24_6": (
        "24gb-v6",
        {"encoder.pooling.unit": "fraction", "encoder.pooling.nodes": (0.1, 0.2), "encoder.pooling.values": (4, 2, 1)},
    ),
    "downsched18_6_5k": (
        "24gb-v6",
        {"encoder.pooling.unit": "micro_step", "encoder.pooling.nodes": (5000,), "encoder.pooling.values": (3, 1)},
    ),
}
