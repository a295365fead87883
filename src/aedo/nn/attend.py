"""Scaled dot-product attention, written out and through torch's fused kernels.

Q queries, K keys, E features of a head; the leading axes [..., H] hold batch and heads.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from aedo.nn.dropout import WeightDropout, WeightShare
from aedo.nn.written_attention import written_attention
from aedo.schedule import Scheduled

Fused = Literal["never", "evaluation", "always"]
"""Where torch's fused kernels compute attention.  evaluation: in evaluation and recognition, the same numbers to 1e-5;
always: in training too, where other dropout masks are drawn, and a GPU need not repeat gradients to the last bit."""


def check_fused(fused: Fused, dropout: Scheduled, share: WeightShare) -> None:
    """ValueError where the fused kernels have no such dropout."""
    if fused == "always" and dropout != 0 and share != "none":
        raise ValueError("fused attention draws a dropout mask per weight: share none (attdropfixbc), or fuse less")


def is_fused(fused: Fused, *, training: bool) -> bool:
    return fused == "always" or (fused == "evaluation" and not training)


def attention_weights(query: Tensor, key: Tensor, seen: Tensor, added: Tensor | None = None) -> Tensor:
    """Softmax((query . key + added) / sqrt(E)) over the keys seen.

    query [..., Q, E], key [..., K, E], seen bool and `added` [..., Q, K] or shapes that grow to it -> [..., Q, K].
    """
    scores = query @ key.transpose(-1, -2)
    if added is not None:
        scores = scores + added
    return (scores / math.sqrt(query.shape[-1])).masked_fill(~seen, float("-inf")).softmax(-1)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, seen: Tensor, added: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Those weights times the values [..., K, E] -> [..., Q, E], never storing the weights.

    Exact: what is added to the scores is given to the kernel as its mask.  `dropout`: rate of dropping weights; the
    masks come from torch's global generator but are not those that `WeightDropout` draws.
    """
    if added is not None:
        seen = (added / math.sqrt(query.shape[-1])).masked_fill(~seen, float("-inf"))
    return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
    added: Tensor | None,
    dropout: WeightDropout,
    fused: Fused,
) -> Tensor:
    """The one or the other way, as `fused` and the mode of `dropout` say -> [..., Q, E]."""
    if is_fused(fused, training=dropout.training):
        rate = dropout.rate if dropout.training else 0.0
        return fused_attention(query, key, value, seen, added, rate)
    if dropout.training:
        keep = dropout.keep((*query.shape[:-1], key.shape[-2]), query.device)
        return written_attention(query, key, value, seen, added, keep, dropout.factor)
    context: Tensor = attention_weights(query, key, seen, added) @ value
    return context
