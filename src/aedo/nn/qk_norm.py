"""Norms of queries and keys.  B batch, H heads, T frames, E features of a head."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

QKNormKind = Literal["l2", "layer"]
"""l2: unit length and a learned scale per head; layer: layer normalisation with a learned scale per feature."""


class L2QKNorm(nn.Module):
    """Attention by cosine: content scores are g cos(query, key), g learned per head, sqrt(E) at the start.

    That start gives scores the variance they have for queries and keys of variance 1 (Henry et al. 2020, who learn one
    g, start from the length of the training data).  Queries get the length sqrt(E), keys g, so that attention, which
    divides by sqrt(E), gives position scores their usual size; g does not touch those.
    """

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((heads,), head_dim**0.5))

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, T, E] each -> the same."""
        size = query.shape[-1:]
        unit = size[0] ** -0.5
        key = nn.functional.rms_norm(key, size, eps=1e-6) * (self.scale * unit)[:, None, None].to(key.dtype)
        return nn.functional.rms_norm(query, size, eps=1e-6), key


class LayerQKNorm(nn.Module):
    """Layer normalisation of each head's query and key, without shift; the scales are shared by the heads.

    Source: Dehghani et al. 2023 (ViT-22B).
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.query, self.key = (nn.LayerNorm(head_dim, eps=1e-6, bias=False) for _ in range(2))

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, T, E] each -> the same."""
        return self.query(query), self.key(key)


QKNorm = L2QKNorm | LayerQKNorm


def qk_norm(kind: QKNormKind, heads: int, head_dim: int) -> QKNorm:
    return L2QKNorm(heads, head_dim) if kind == "l2" else LayerQKNorm(head_dim)
