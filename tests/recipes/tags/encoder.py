"""Tags of `recipes/tags/encoder.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "d384": ("24gb-v6", {"encoder.dim": 384, "encoder.feed_forward.dim": 1536}),
    "d384ff1024": ("24gb-v6", {"encoder.dim": 384, "encoder.feed_forward.dim": 1024}),
    "ff1024": ("24gb-v6", {"encoder.feed_forward.dim": 1024}),
    "h4": ("24gb-v6", {"encoder.attention.heads": 4}),
    "n16": ("24gb-v6", {"encoder.layers": 16}),
    "pretrain": ("24gb-v6", {"encoder.growth": ((4_000, 2), (2_000, 4), (2_000, 8))}),
    "nopretrain": ("24gb-v5", {"encoder.growth": ()}),
    "ks8": ("24gb-v6", {"encoder.convolution.kernel": 8}),
    "swish": ("24gb-v6", {"encoder.feed_forward.activation": "swish"}),
    "relu2": ("24gb-v6-swish", {"encoder.feed_forward.activation": "relu2"}),
    "ln": ("24gb-v6", {"encoder.convolution.norm.kind": "layer", "encoder.convolution.norm.eps": 1e-6}),
    "bnnomask": ("24gb-v6", {"encoder.convolution.norm.masked": False}),
    "relposxl": ("24gb-v6", {"encoder.attention.position.kind": "transformer_xl"}),
    "relposclip32": ("24gb-v6", {"encoder.attention.position.clip": 32}),
}
