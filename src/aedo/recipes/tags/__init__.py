"""All tags, a file for each station of the way that they change.  Importing this package registers them."""

from aedo.recipes.tags import (
    augment,
    batches,
    decay,
    decoder,
    distributed,
    encoder,
    features,
    finetune,
    frontend,
    initialize,
    learning_rate,
    losses,
    regularize,
    search,
    tokens,
    update,
)

__all__ = [
    "augment",
    "batches",
    "decay",
    "decoder",
    "distributed",
    "encoder",
    "features",
    "finetune",
    "frontend",
    "initialize",
    "learning_rate",
    "losses",
    "regularize",
    "search",
    "tokens",
    "update",
]
