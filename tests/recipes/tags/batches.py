"""Tags of `recipes/tags/batches.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "bs30k": ("24gb-v6", {"batch.max_samples": 4_800_000}),
    "bsramp10k_40k_100k": (
        "24gb-v6",
        {"batch.max_samples.nodes": (100_000,), "batch.max_samples.values": (1_600_000, 6_400_000)},
    ),
    "maxseqs50": ("24gb-v6", {"batch.max_utterances": 50}),
    "maxlabels200": ("24gb-v6", {"batch.max_labels": 200}),
    "maxsecs195e_1": ("24gb-v6", {"batch.max_seconds": 19.5}),
    "nomaxlabels": ("24gb-v6", {"batch.max_labels": None}),
    "laplace500": ("24gb-v6", {"order.kind": "laplace", "order.bin_size": 500}),
    "sortbatch": ("24gb-v6", {"order.kind": "sorted"}),
    "randbatch": ("24gb-v6", {"order.kind": "random"}),
    "bucket20": ("24gb-v6", {"order.kind": "bucket", "order.buckets": 20}),
    "batchnumel": ("24gb-v6", {"order.kind": "fixed", "batch.count_labels": True}),
    "speedall": ("24gb-v6", {"augment.speed.every": True}),
    "part1": ("24gb-v6", {"order.partition": 1}),
    "crl2": ("24gb-v6", {"order.short_first_epochs": 2}),
    "eval50": ("24gb-v6", {"train.eval_utterances": 50}),
    "nocrl": ("24gb-v6", {"order.short_first_epochs": 0}),
    "ep500": ("24gb-v6", {"train.epochs": 500}),
    "seed7": ("24gb-v6", {"train.seed": 7}),
}
