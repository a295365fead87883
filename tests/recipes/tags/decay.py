"""Tags of `recipes/tags/decay.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "wd1e_3": ("24gb-v6", {"train.optimizer.weight_decay.value": 1e-3}),
    "wdblacklist": (
        "24gb-v3",
        {"train.optimizer.weight_decay.exclude": ("batch_norm", "layer_norm", "embedding", "relative_position")},
    ),
    "wdblacklist2": ("24gb-v3", {"train.optimizer.weight_decay.exclude": ("embedding", "relative_position")}),
    # On 24gb-v5, since 24gb-v6 is for tags that go with every other one: these leave others nothing to do.
    "wdf": ("24gb-v5", {"train.optimizer.weight_decay.matrices_only": True}),
    "wdro": ("conformer", {"train.optimizer.weight_decay.readout": True}),
    "wdenc1e_2": ("24gb-v5", {"train.optimizer.weight_decay.encoder": 1e-2}),
    "wddec1e_4": ("24gb-v5", {"train.optimizer.weight_decay.decoder": 1e-4}),
}
