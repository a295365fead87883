"""Tags of `recipes/tags/update.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "f32": ("24gb-v6", {"train.precision": "float32"}),
    "amp_bf16": ("11gb", {"train.precision": "bfloat16"}),
    "accgrad4": ("24gb-v6", {"train.accumulate": 4.0}),
    "dynaccgrad_v2": ("24gb-v6", {"train.accumulate.values": (1, 100, 1, 1, 10)}),
    "dynaccgrad_v3": ("24gb-v6", {"train.accumulate.nodes": (20_000, 100_000, 200_000)}),
    "dynaccgrad_v3a": ("24gb-v6", {"train.accumulate.values": (4, 4, 2, 1)}),
    "dynaccgrad_v4": ("24gb-v6", {"train.accumulate.values": (4, 1, 4, 12)}),
    "gradclip1": ("24gb-v6", {"train.gradients.clip_norm": 1.0}),
    "nogradclip": ("24gb-v6", {"train.gradients.clip_norm": None}),
    "eps1e_8": ("24gb-v6", {"train.optimizer.eps": 1e-8}),
    "betas09_098": ("24gb-v6", {"train.optimizer.betas": (0.9, 0.98)}),
    "avglast20pct": ("24gb-v6", {"train.average_fraction": 0.2}),
}
