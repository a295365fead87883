"""Embeddings of labels."""

from __future__ import annotations

from torch import nn

from aedo.nn.init import glorot_


class TargetEmbedding(nn.Embedding):
    """One learned vector per label, Glorot uniform at the start, as in the reference.

    `std`: start from a normal distribution of this standard deviation instead, cut at twice it.
    """

    def __init__(self, labels: int, dim: int, std: float | None = None) -> None:
        super().__init__(labels, dim)
        self.std = std
        if std is not None:
            nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)

    def reset_parameters(self) -> None:
        glorot_(self.weight, self.num_embeddings, self.embedding_dim)
