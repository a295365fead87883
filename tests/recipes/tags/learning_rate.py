"""Tags of `recipes/tags/learning_rate.py`, each with what it sets."""

from tests.recipes.tags import Sets

RATE = "train.learning_rate"

SPELLED: dict[str, Sets] = {
    "lr09e_3": ("24gb-v6", {f"{RATE}.peak": 0.9e-3}),
    "warmup100k": ("24gb-v6", {f"{RATE}.warmup": 100_000}),
    "lrdecnorm40k": ("24gb-v6", {f"{RATE}.norm": 40_000}),
    "noam": ("24gb-v6-warmup100k", {f"{RATE}.norm": 100_000}),
    "lrcos": ("24gb-v6", {f"{RATE}.kind": "waving_inverse_sqrt", f"{RATE}.period": 10_000, f"{RATE}.peak": 1e-3}),
    "lrcosann10": (
        "24gb-v6",
        {f"{RATE}.kind": "warmup_cosine", f"{RATE}.warmup": 10.0, f"{RATE}.decay": 1990.0, f"{RATE}.peak": 1e-3},
    ),
    "lrlin": (
        "24gb-v6",
        {f"{RATE}.nodes": (20_000, 900_000, 982_000), f"{RATE}.values": (0, 1e-3, 1e-5, 1e-6)},
    ),
    "lrlin1e_5": ("24gb-v6", {f"{RATE}.nodes": (450_000, 900_000, 982_000)}),
    "lrlin2e_5_100k": (
        "24gb-v6",
        {f"{RATE}.nodes": (100_000, 900_000, 982_000), f"{RATE}.values": (2e-5, 2e-3, 2e-5, 2e-6)},
    ),
    "lrlin1e_5_1k_2k_3k": ("24gb-v6", {f"{RATE}.nodes": (1000, 2000, 3000), f"{RATE}.unit": "micro_step"}),
    "lrlinfrac1e_5": (
        "24gb-v6",
        {f"{RATE}.unit": "fraction", f"{RATE}.nodes": (0.45, 0.9, 1.0), f"{RATE}.values": (1e-5, 1e-3, 1e-5, 1e-6)},
    ),
    "lrlinfrac1e_5_02": ("24gb-v6", {f"{RATE}.nodes": (0.2, 0.9, 1.0)}),
    "lrpre10": ("24gb-v6", {f"{RATE}.kind": "by_epoch", f"{RATE}.start": 1e-7}),
    "lrpre9": ("24gb-v6", {f"{RATE}.kind": "by_epoch", f"{RATE}.start": 1e-4}),
    "oclr": (
        "24gb-v6",
        {f"{RATE}.nodes": (1_235_250, 2_470_500, 2_747_250), f"{RATE}.values": (9e-5, 9e-4, 9e-5, 1e-6)},
    ),
}
