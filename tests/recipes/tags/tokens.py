"""Tags of `recipes/tags/tokens.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "spm10k": ("24gb-v6", {"tokenizer.kind": "unigram", "tokenizer.size": 10_240}),
    "bpe1k": ("24gb-v6", {"tokenizer.kind": "bpe", "tokenizer.size": 1024}),
    "char": ("24gb-v6", {"tokenizer.kind": "char"}),
    "bpesample001": ("24gb-v6", {"augment.labels.kind": "longest_match", "augment.labels.deviate": 0.01}),
    "spmsample07": ("24gb-v6-spm10k", {"augment.labels.kind": "unigram", "augment.labels.alpha": 0.7}),
}
