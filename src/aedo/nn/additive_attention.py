"""Attention of an LSTM decoder to the encoder.  T frames, D encoder features, A attention features, H heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aedo.nn.energies import energies_of_hypotheses
from aedo.nn.init import linear
from aedo.nn.precision import single
from aedo.nn.search_layers import Products


class AdditiveAttention(nn.Module):
    """Energies w tanh(key + feedback of the weights so far + query); each head has its own w and its own feedback.

    The heads share what is inside the tanh, so each knows where all of them have looked.  Source: Bahdanau et al.
    2015; feedback with fertility: Tu et al. 2016; several heads: the reference.
    """

    def __init__(
        self, dim: int, attention_dim: int, query_dim: int, heads: int = 1, *, weight_feedback: bool = True
    ) -> None:
        """`weight_feedback`: whether energies know the weights so far; without, there is no fertility either."""
        super().__init__()
        self.heads = heads
        self.key = linear(dim, attention_dim)
        self.fertility = linear(dim, heads, bias=False) if weight_feedback else None
        self.feedback = linear(heads, attention_dim, bias=False) if weight_feedback else None
        self.query = linear(query_dim, attention_dim, bias=False)
        self.energy = linear(attention_dim, heads, bias=False)

    def forward(self, query: Tensor, keys: Tensor, accumulated: Tensor, mask: Tensor) -> Tensor:
        """query [..., A] projected, keys [..., T, A], accumulated [..., H, T], mask [..., T] -> weights [..., H, T]."""
        if self.feedback is None:
            hidden = (keys + query[..., None, :]).tanh_()
        else:
            hidden = self.feedback(accumulated.transpose(-1, -2))  # [..., T, A], from here on in place
            hidden = hidden.add_(keys).add_(query[..., None, :]).tanh_()
        energies = single(self.energy(hidden)).transpose(-1, -2)
        return energies.masked_fill(~mask[..., None, :], float("-inf")).softmax(-1)

    def of_hypotheses(
        self, output: Tensor, keys: Tensor, accumulated: Tensor, mask: Tensor, products: Products
    ) -> Tensor:
        """The weights of K hypotheses [B, K, H, T], for a search.

        output [B, K, query dim], keys [B, 1 or K, T, A], accumulated [B, K, H, T], mask [B, 1 or K, T].  Where no
        gradients are wanted, a few hypotheses at a time.
        """
        query = products.layer(self.query, output)
        if torch.is_grad_enabled() or self.quantised:
            return self.forward(query, keys, accumulated, mask)
        feedback = None if self.feedback is None else self.feedback.weight
        values = energies_of_hypotheses(single(query), keys, accumulated, feedback, self.energy.weight)
        return values.masked_fill_(~mask[..., None, :], float("-inf")).softmax(-1)

    @property
    def quantised(self) -> bool:
        """Whether the layers were replaced by quantised ones, which have no matrices to look into."""
        return type(self.energy) is not nn.Linear

    def fertilities(self, states: Tensor) -> Tensor:
        """Encoder states [..., T, D] -> [..., H, T]: how much a unit of weight counts in the feedback, up to a half."""
        if self.fertility is None:
            return single(states).new_zeros(*states.shape[:-2], self.heads, states.shape[-2])
        return 0.5 * single(self.fertility(states).transpose(-1, -2)).sigmoid()
