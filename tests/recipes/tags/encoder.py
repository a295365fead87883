"""Tags of `recipes/tags/encoder.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "d384": ("24gb-v6", {"encoder.dim": 384, "encoder.feed_forward.dim": 1536}),
    "d384ff1024": ("24gb-v6", {"encoder.dim": 384, "encoder.feed_forward.dim": 1024}),
    "ff1024": ("24gb-v6", {"encoder.feed_forward.dim": 1024}),
    "h4": ("24gb-v6", {"encoder.attention.heads": 4}),
    "n16": ("24gb-v6", {"encoder.layers": 16}),
    "ebranchformer": (
        "24gb-v6",
        {
            "encoder.kind": "ebranchformer",
            "encoder.layers": 12,
            "encoder.dim": 512,
            "encoder.gating.dim": None,
            "encoder.gating.kernel": 31,
            "encoder.merge_kernel": 3,
            "encoder.padding": "consistent",
            "encoder.attention.position.dropout": 0.1,
        },
    ),
    "cgmlp1024": ("24gb-v6-ebranchformer", {"encoder.gating.dim": 1024}),
    "mergeks31": ("24gb-v6-ebranchformer", {"encoder.merge_kernel": 31}),
    "pretrain": ("24gb-v6", {"encoder.growth": ((4_000, 2), (2_000, 4), (2_000, 8))}),
    "nopretrain": ("24gb-v5", {"encoder.growth": ()}),
    "ks8": ("24gb-v6", {"encoder.convolution.kernel": 8}),
    "swish": ("24gb-v6", {"encoder.feed_forward.activation": "swish"}),
    "relu2": ("24gb-v6-swish", {"encoder.feed_forward.activation": "relu2"}),
    "ln": ("24gb-v6", {"encoder.convolution.norm.kind": "layer", "encoder.convolution.norm.eps": 1e-6}),
    "bnnomask": ("24gb-v6", {"encoder.convolution.norm.masked": False}),
    "relposxl": ("24gb-v6", {"encoder.attention.position.kind": "transformer_xl"}),
    "fix245": ("24gb-v6-nofix245", {"encoder.dropout_behind_attention": True}),
    "nofix245": ("24gb-v6", {"encoder.dropout_behind_attention": False}),
    "chunk50": ("24gb-v6", {"encoder.chunk": 50}),
    "chunk50a": ("24gb-v6", {"encoder.chunk": 50}),
    "win50": ("24gb-v6", {"encoder.attention.window": 50}),
    "pre10": (
        "24gb-v6",
        {
            "encoder.growth": ((10, 2), (10, 4), (10, 8)),
            "encoder.growth_unit": "epoch",
            "encoder.width.nodes": (10, 20, 30),
            "encoder.width.values": (0.5, 0.6, 0.8, 1.0),
            "encoder.dropout.rate.values": (0.05, 0.06, 0.08, 0.1),
            "encoder.attention.dropout.values": (0.05, 0.06, 0.08, 0.1),
            "encoder.attention.position.dropout.unit": "epoch",
        },
    ),
    "pre10ep2": ("tiny", {"encoder.growth": ((2, 1), (2, 1), (2, 2)), "encoder.width.values": (0.5, 0.5, 0.75, 1.0)}),
    "relposclip32": ("24gb-v6", {"encoder.attention.position.clip": 32}),
}
