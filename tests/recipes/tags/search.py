"""Tags of `recipes/tags/search.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "beam4": ("24gb-v6", {"search.beam": 4}),
    "lennorm05": ("24gb-v6", {"search.length_normalization": 0.5}),
}
