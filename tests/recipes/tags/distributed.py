"""Tags of `recipes/tags/distributed.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "mgpu4": ("24gb-v6", {"train.devices": 4}),
    "mgpu": ("24gb-v6", {"train.devices": 2}),
    "pavg100": ("24gb-v6-mgpu4", {"train.sync_parameters": 100}),
}
