"""Tags of `recipes/tags/update.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "f32": ("24gb-v6", {"train.precision": "float32"}),
    "amp_bf16": ("11gb", {"train.precision": "bfloat16"}),
    "amp_f16": ("24gb-v6", {"train.precision": "float16", "train.grad_scaler": "auto"}),
    "gradscaler": ("24gb-v6", {"train.grad_scaler": "on"}),
    "nogradscaler": ("24gb-v2", {"train.grad_scaler": "auto", "train.precision": "bfloat16"}),
    "accdiv": ("24gb-v6", {"train.gradients.divide": True}),
    "gn01": ("24gb-v6", {"train.gradients.noise": 0.1}),
    "gndecay03": ("24gb-v6", {"train.gradients.noise.start": 0.3, "train.gradients.noise.power": 0.275}),
    "vn0025": ("24gb-v6", {"train.weight_noise.std": 0.025, "train.weight_noise.names": ("*",)}),
    "vndec00025": ("24gb-v6", {"train.weight_noise.std": 0.0025, "train.weight_noise.names": ("decoder.*",)}),
    "wdrop005": ("24gb-v6", {"train.weight_dropout.rate": 0.05}),
    "ema0999": ("24gb-v6", {"train.ema": 0.999}),
    "accgrad4": ("24gb-v6", {"train.accumulate": 4.0}),
    "dynaccgrad_v2": ("24gb-v6", {"train.accumulate.values": (1, 100, 1, 1, 10)}),
    "dynaccgrad_v3": ("24gb-v6", {"train.accumulate.nodes": (20_000, 100_000, 200_000)}),
    "dynaccgrad_v3a": ("24gb-v6", {"train.accumulate.values": (4, 4, 2, 1)}),
    "dynaccgrad_v4": ("24gb-v6", {"train.accumulate.values": (4, 1, 4, 12)}),
    "gradclip1": ("24gb-v6", {"train.gradients.clip_norm": 1.0}),
    "nogradclip": ("24gb-v6", {"train.gradients.clip_norm": None}),
    "adamw": ("24gb-v6-adam", {"train.optimizer.kind": "adamw"}),
    "adam": ("24gb-v6", {"train.optimizer.kind": "adam"}),
    "nadam": ("24gb-v6", {"train.optimizer.kind": "nadam"}),
    "nadamtf": ("24gb-v6", {"train.optimizer.kind": "nadam_tf"}),
    # On 24gb-v5, since 24gb-v6 is for tags that go with every other one: it goes with no tag of weight decay.
    "scaledadam": ("24gb-v5", {"train.optimizer.kind": "scaled_adam", "train.optimizer.weight_decay.value": 0.0}),
    "medianclip2": ("24gb-v6-scaledadam", {"train.optimizer.median_clip": 2.0}),
    "eps1e_8": ("24gb-v6", {"train.optimizer.eps": 1e-8}),
    "betas09_098": ("24gb-v6", {"train.optimizer.betas": (0.9, 0.98)}),
    "avglast20pct": ("24gb-v6", {"train.average_fraction": 0.2, "train.average_last": 0}),
    "avglast7": ("24gb-v6", {"train.average_last": 7, "train.keep.last": 7, "train.average_fraction": 0.1}),
    "avgbest4": ("24gb-v6", {"train.average_best": 4, "train.keep.best": 4, "train.average_fraction": 0.1}),
}
