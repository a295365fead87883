"""Tags of `recipes/tags/regularize.py`, each with what it sets."""

from tests.recipes.tags import Sets

SHARES = ("encoder.dropout.share", "decoder.readout_dropout.share", "decoder.zone_share")
RAMPED = (
    "encoder.dropout.rate",
    "encoder.attention.dropout",
    "encoder.attention.position.dropout",
    "decoder.readout_dropout.rate",
    "decoder.zone_cell",
    "decoder.zone_hidden",
    "loss.label_smoothing",
    "augment.specaugment.strength",
    "train.optimizer.weight_decay.value",
)

SPELLED: dict[str, Sets] = {
    "posdrop02": ("24gb-v6", {"encoder.attention.position.dropout": 0.2}),
    "attdrop02": ("24gb-v6", {"encoder.attention.dropout": 0.2}),
    "attdropfixbc": ("24gb-v4", {"encoder.attention.dropout_share": "none"}),
    "attdropbc": ("24gb-v6", {"encoder.attention.dropout_share": "all_but_keys"}),
    "drop015": ("24gb-v6", {"encoder.dropout.rate": 0.15}),
    "layerdrop01": ("24gb-v6", {"encoder.layer_drop": 0.1}),
    "readoutdrop01": ("24gb-v6", {"decoder.readout_dropout.rate": 0.1}),
    "zonecell01": ("24gb-v6", {"decoder.zone_cell": 0.1}),
    "zonehid01": ("24gb-v6", {"decoder.zone_hidden": 0.1}),
    "nodropbc": ("24gb-v6", dict.fromkeys(SHARES, "none")),
    "dropbc_time": ("24gb-v6", dict.fromkeys(SHARES, "time")),
    "ls0": ("24gb-v6", {"loss.label_smoothing": 0.0}),
    "regramp20k": (
        "24gb-v6",
        {
            **{f"{path}.nodes": (20_000,) for path in RAMPED},
            "decoder.zone_cell.values": (0.0, 0.15),
            "encoder.attention.position.dropout.values": (0.0, 0.1),
        },
    ),
}
