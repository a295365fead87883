"""Tags of `recipes/tags/initialize.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "inittorch": ("24gb-v6", {"initialization.kind": "torch"}),
    "initglorot": ("24gb-v6-inittorch", {"initialization.kind": "glorot"}),
    "mhsapinit05": ("24gb-v6", {"encoder.attention.init_scale": 0.5}),
    "embinit1": ("24gb-v6", {"decoder.embedding_std": 1.0}),
    "embInit01": ("24gb-v6", {"decoder.embedding_std": 0.1}),
}
