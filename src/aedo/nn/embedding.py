"""Embeddings of labels."""

from __future__ import annotations

from torch import nn

from aedo.nn.init import glorot_


class TargetEmbedding(nn.Embedding):
    """One learned vector per label, Glorot uniform at the start, as in the reference."""

    def reset_parameters(self) -> None:
        glorot_(self.weight, self.num_embeddings, self.embedding_dim)
