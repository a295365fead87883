"""The two attentions of a Transformer decoder: over the labels so far, and over the encoder's frames.

B batch, K hypotheses, T frames, U labels, D features of the decoder, H heads, E = D / H.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aedo.nn.attend import Fused, attention, attention_weights
from aedo.nn.dropout import WeightDropout
from aedo.nn.init import linear
from aedo.nn.positions import rotated


class KeysValues(NamedTuple):
    keys: Tensor
    """[..., H, positions, E]."""
    values: Tensor
    """[..., H, positions, E]."""


class CausalAttention(nn.Module):
    """Self-attention in which every label sees itself and those before.

    The columns of the fused projection are grouped by head, then query, key, value (the reference's layout).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dropout: WeightDropout,
        *,
        bias: bool,
        rotary: bool,
        fused: Fused = "evaluation",
    ) -> None:
        super().__init__()
        self.heads, self.rotary, self.dropout, self.fused = heads, rotary, dropout, fused
        self.qkv, self.out = linear(dim, 3 * dim, bias=bias), linear(dim, dim, bias=bias)

    def start(self, batch: int) -> KeysValues:
        """Nothing seen yet, for one hypothesis per utterance: [B, 1, H, 0, E]."""
        none = self.qkv.weight.new_zeros(batch, 1, self.heads, 0, self.out.in_features // self.heads)
        return KeysValues(none, none)

    def forward(self, x: Tensor) -> Tensor:
        """All labels at once: [B, U, D] -> [B, U, D]."""
        query, key, value = self._project(x, 0)
        past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        context = attention(query, key, value, past, None, self.dropout, self.fused)  # [B, H, U, E]
        y: Tensor = self.out(context.transpose(1, 2).flatten(2))
        return y

    def step(self, x: Tensor, past: KeysValues, lengths: Tensor | None = None) -> tuple[Tensor, KeysValues]:
        """One label further: x [B, K, D], past [B, K, H, U, E] -> ([B, K, D], past with this label).

        lengths [B, K]: how many of the U labels each hypothesis has, where they differ; the new one comes right after.
        """
        seen_before = past.keys.shape[-2]
        first = seen_before if lengths is None else lengths[..., None]  # of every head
        query, key, value = self._project(x[..., None, :], first)  # [B, K, H, 1, E]
        if lengths is None:
            seen = KeysValues(torch.cat([past.keys, key], -2), torch.cat([past.values, value], -2))
            scores = query @ seen.keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
        else:
            place = torch.arange(seen_before + 1, device=x.device) - lengths[..., None]  # [B, K, U + 1]
            here = (place == 0)[..., None, :, None]
            seen = KeysValues(*(torch.where(here, one, pad_labels(old, 1)) for old, one in zip(past, (key, value))))
            scores = query @ seen.keys.transpose(-1, -2) / math.sqrt(query.shape[-1])
            scores = scores.masked_fill((place > 0)[..., None, None, :], float("-inf"))
        y: Tensor = self.out((scores.softmax(-1) @ seen.values).flatten(2))
        return y, seen

    def _project(self, x: Tensor, first: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., U, D] at the positions from `first` -> queries, keys, values [..., H, U, E]."""
        qkv = self.qkv(x).unflatten(-1, (self.heads, 3, -1)).transpose(-4, -3)  # [..., H, U, 3, E]
        query, key, value = qkv.unbind(-2)
        return (rotated(query, first), rotated(key, first), value) if self.rotary else (query, key, value)


def pad_labels(x: Tensor, count: int) -> Tensor:
    """[..., U, E] with room for more labels."""
    return nn.functional.pad(x, (0, 0, 0, count)) if count else x


class CrossAttention(nn.Module):
    """Attention to the encoder.  Columns of the keys and values: grouped by head, then key, value.

    Source of the smaller initial weights: the reference, as if queries, keys and values were one matrix.
    """

    def __init__(
        self, dim: int, encoder_dim: int, heads: int, dropout: WeightDropout, fused: Fused = "evaluation"
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.fused = heads, dropout, fused
        self.query, self.out = linear(dim, dim, scale=1 / 2), linear(dim, dim)
        self.key_value = linear(encoder_dim, 2 * dim, scale=3 / 4)

    def memory(self, states: Tensor) -> KeysValues:
        """Encoder states [B, T, D'] -> keys and values [B, H, T, E]."""
        key_value = self.key_value(states).unflatten(-1, (self.heads, 2, -1)).transpose(1, 2)  # [B, H, T, 2, E]
        return KeysValues(*key_value.unbind(-2))

    def forward(self, x: Tensor, memory: KeysValues, mask: Tensor) -> Tensor:
        """x [B, U, D] (or [B, K, D]), mask [B, T] True on valid frames -> [B, U, D]."""
        seen = mask[:, None, None]
        context = attention(self._query(x), memory.keys, memory.values, seen, None, self.dropout, self.fused)
        y: Tensor = self.out(context.transpose(1, 2).flatten(2))
        return y

    def with_weights(self, x: Tensor, memory: KeysValues, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the weights [B, H, U, T] before dropout."""
        weights = attention_weights(self._query(x), memory.keys, mask[:, None, None])
        y: Tensor = self.out((self.dropout(weights) @ memory.values).transpose(1, 2).flatten(2))
        return y, weights

    def _query(self, x: Tensor) -> Tensor:
        """[B, U, D] -> [B, H, U, E]."""
        query: Tensor = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return query
