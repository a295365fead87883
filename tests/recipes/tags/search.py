"""Tags of `recipes/tags/search.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "beam4": ("24gb-v6", {"search.beam": 4}),
    "lennorm05": ("24gb-v6", {"search.length_normalization": 0.5}),
    "aedonly": ("tiny", {"search.kind": "attention"}),
    "joint": ("24gb-v6", {"search.kind": "joint"}),
    "jointtime": ("24gb-v6", {"search.kind": "joint_time"}),
    "ctcprefix": ("24gb-v6", {"search.kind": "ctc_prefix"}),
    "ctcscale05": ("tiny", {"search.ctc_scale": 0.5}),
    "lenreward02": ("tiny", {"search.length_reward": 0.2}),
    "ilmscale02": ("24gb-v6", {"search.internal_lm_scale": 0.2}),
    "priorscale03": ("tiny", {"search.prior_scale": 0.3}),
}
