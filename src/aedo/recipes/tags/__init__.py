"""All tags, a file for each station of the way that they change.  Importing this package registers them."""

from aedo.recipes.tags import (
    augment,
    batches,
    decoder,
    encoder,
    features,
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
    "decoder",
    "encoder",
    "features",
    "learning_rate",
    "losses",
    "regularize",
    "search",
    "tokens",
    "update",
]
