"""The decoder's two attentions: the fused form is the written-out one."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from aedo.model.transformer_decoder import TransformerDecoderConfig
from aedo.nn.attend import Fused
from aedo.nn.decoder_attention import CausalAttention, CrossAttention
from aedo.nn.dropout import WeightDropout
from aedo.nn.masks import length_mask


def both(fused: Fused) -> tuple[CausalAttention, CrossAttention]:
    torch.manual_seed(0)
    causal = CausalAttention(8, 2, WeightDropout(0.0, "none"), bias=True, rotary=True, fused=fused)
    return causal.train(), CrossAttention(8, 6, 2, WeightDropout(0.0, "none"), fused).train()


def test_fused_is_plain_in_outputs_and_gradients() -> None:
    x, states, mask = (
        torch.randn(2, 5, 8),
        torch.randn(2, 9, 6),
        length_mask(torch.tensor([9, 4]), 9, torch.device("cpu")),
    )
    found: dict[Fused, list[Tensor]] = {}
    for fused in ("never", "always"):
        causal, cross = both(fused)
        inputs, frames = x.clone().requires_grad_(), states.clone().requires_grad_()
        y = cross(causal(inputs), cross.memory(frames), mask)
        y.square().sum().backward()
        parameters = [*causal.parameters(), *cross.parameters()]
        found[fused] = [y.detach(), *(t.grad for t in (inputs, frames, *parameters) if t.grad is not None)]
    assert len(found["always"]) == 1 + 2 + 4 + 6
    for one, other in zip(found["never"], found["always"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_keeping_the_weights_changes_nothing() -> None:
    _, cross = both("always")
    x, memory = torch.randn(2, 5, 8), cross.memory(torch.randn(2, 9, 6))
    mask = length_mask(torch.tensor([9, 4]), 9, x.device)
    y, weights = cross.with_weights(x, memory, mask)
    torch.testing.assert_close(y, cross(x, memory, mask), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 5))
    assert (weights[1, :, :, 4:] == 0).all()


def test_fused_attention_of_the_decoder_shares_no_dropout() -> None:
    with pytest.raises(ValidationError, match="share none"):
        TransformerDecoderConfig(attention_dropout_share="all_but_keys", attention_fused="always")
