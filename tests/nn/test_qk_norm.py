from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from aedo.nn.attention import SelfAttention, SelfAttentionConfig
from aedo.nn.positions import ClippedPositions
from aedo.nn.qk_norm import L2QKNorm, LayerQKNorm


def build(qk_norm: str | None, kind: str) -> SelfAttention:
    torch.manual_seed(0)
    config: dict[str, Any] = {"heads": 2, "dropout": 0.0, "position": {"kind": kind}, "qk_norm": qk_norm}
    attention = SelfAttentionConfig.model_validate(config).build(8).double()
    if isinstance(attention.position, ClippedPositions):
        torch.nn.init.normal_(attention.position.table.weight)
    return attention


@pytest.mark.parametrize("kind", ["clipped", "transformer_xl", "rotary", "none"])
@pytest.mark.parametrize("qk_norm", ["l2", "layer"])
def test_the_length_of_queries_and_keys_says_nothing(qk_norm: str, kind: str) -> None:
    attention, x, mask = build(qk_norm, kind), torch.randn(1, 5, 8).double(), torch.ones(1, 5, dtype=torch.bool)
    with torch.no_grad():
        attention.qkv.weight.mul_(100)  # far above what the norms add to what they divide by
        before = attention(x, mask)
        attention.qkv.weight.view(2, 3, 4, 8)[:, :2].mul_(7.0)  # by head; queries and keys
    torch.testing.assert_close(attention(x, mask), before, rtol=1e-5, atol=1e-5)


def test_content_scores_are_cosines_times_the_heads_own_scale() -> None:
    norm = L2QKNorm(2, 4)
    with torch.no_grad():
        norm.scale.copy_(torch.tensor([3.0, 5.0]))
    query, key = torch.randn(2, 1, 2, 6, 4)
    normed_query, normed_key = norm(query, key)
    scores = normed_query @ normed_key.transpose(-1, -2) / math.sqrt(4)  # as attention takes them
    cosines = torch.nn.functional.cosine_similarity(query[..., :, None, :], key[..., None, :, :], dim=-1)
    torch.testing.assert_close(scores, cosines * torch.tensor([3.0, 5.0])[:, None, None], rtol=1e-4, atol=1e-4)


def test_the_scale_starts_where_scores_have_variance_one() -> None:
    torch.manual_seed(0)
    query, key = L2QKNorm(1, 64)(*torch.randn(2, 1, 1, 500, 64))
    assert (query @ key.transpose(-1, -2) / 8).var().item() == pytest.approx(1, abs=0.02)


def test_position_scores_see_the_normed_query_and_no_scale() -> None:
    attention = build("l2", "clipped")
    x, mask = torch.randn(1, 5, 8).double(), torch.ones(1, 5, dtype=torch.bool)
    query, key, value = attention.qkv(x).view(1, 5, 2, 3, 4).permute(3, 0, 2, 1, 4)
    assert isinstance(attention.position, ClippedPositions)
    assert isinstance(attention.qk_norm, L2QKNorm)
    table, context = attention.position.table.weight, torch.zeros(5, 2, 4).double()
    with torch.no_grad():
        attention.qk_norm.scale.copy_(torch.tensor([0.5, 9.0]))
    for head, scale in enumerate((0.5, 9.0)):
        for i in range(5):
            q = query[0, head, i] / query[0, head, i].norm()
            scores = []
            for j in range(5):
                cosine = q @ key[0, head, j] / key[0, head, j].norm()
                scores.append(scale * cosine + q @ table[j - i + 16])
            context[i, head] = torch.stack(scores).softmax(0) @ value[0, head]
    torch.testing.assert_close(attention(x, mask)[0], attention.out(context.flatten(1)), rtol=1e-5, atol=1e-5)


def test_layer_norms_of_queries_and_keys_have_their_own_scales_and_no_shift() -> None:
    norm = LayerQKNorm(4)
    assert [name for name, _ in norm.named_parameters()] == ["query.weight", "key.weight"]
    with torch.no_grad():
        norm.query.weight.copy_(torch.tensor([1.0, 2, 3, 4]))
    query, key = torch.randn(2, 1, 2, 6, 4)
    mine = norm(query, key)
    centred = query - query.mean(-1, keepdim=True)
    deviation = (query.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(mine[0], centred / deviation * norm.query.weight)
    torch.testing.assert_close(mine[1], torch.nn.functional.layer_norm(key, (4,), eps=1e-6))
