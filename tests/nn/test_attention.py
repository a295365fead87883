from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aedo.nn.attend import attention_weights
from aedo.nn.attention import SelfAttention, SelfAttentionConfig
from aedo.nn.masks import length_mask
from aedo.nn.positions import ClippedPositions

KINDS = ["clipped", "transformer_xl", "rotary", "none"]


def build(dim: int, kind: str = "clipped", **fields: Any) -> SelfAttention:
    """Two heads, with positions that say something."""
    torch.manual_seed(0)
    config = {"heads": 2, "dropout": 0.0, "position": {"kind": kind}, **fields}
    attention = SelfAttentionConfig.model_validate(config).build(dim)
    if isinstance(attention.position, ClippedPositions):
        torch.nn.init.normal_(attention.position.table.weight)
    return attention


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fused", ["never", "always"])
def test_padding_changes_nothing(kind: str, fused: str) -> None:
    attention = build(8, kind, fused=fused).eval()
    x = torch.randn(1, 6, 8)
    alone = attention(x, torch.ones(1, 6, dtype=torch.bool))
    padded = torch.cat([x, torch.randn(1, 4, 8)], 1)
    batched = attention(padded, length_mask(torch.tensor([6]), 10, x.device))
    torch.testing.assert_close(batched[:, :6], alone)


def test_shared_dropout_drops_a_key_for_every_query_head_and_utterance() -> None:
    torch.manual_seed(0)
    attention = SelfAttentionConfig(heads=2, dropout=0.5, dropout_share="all_but_keys").build(8).train()
    dropped = attention.dropout(torch.ones(3, 2, 5, 16)) == 0
    assert (dropped == dropped[:1, :1, :1]).all()
    assert dropped.any()
    unshared = SelfAttentionConfig(heads=2, dropout=0.5).build(8).train().dropout(torch.ones(3, 2, 5, 16)) == 0
    assert not (unshared == unshared[:1, :1, :1]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("qk_norm", [None, "l2", "layer"])
def test_gradients_are_right_in_double_precision(kind: str, qk_norm: str | None) -> None:
    attention = build(4, kind, qk_norm=qk_norm).double().eval()
    mask = torch.tensor([[True, True, False]])
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: attention(y, mask)[:, :2], (x,), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [None, 5])
def test_fused_is_plain_in_outputs_and_gradients(kind: str, window: int | None) -> None:
    x, lengths = torch.randn(3, 21, 16), torch.tensor([21, 1, 13])
    mask, found = length_mask(lengths, 21, x.device), {}
    for fused in ("never", "always"):
        attention, inputs = build(16, kind, window=window, fused=fused).train(), x.clone().requires_grad_()
        y = attention(inputs, mask)[mask]
        y.square().sum().backward()
        found[fused] = [y.detach(), inputs.grad, *(parameter.grad for parameter in attention.parameters())]
    for one, other in zip(found["never"], found["always"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_recognition_is_fused_and_the_same(kind: str) -> None:
    x, lengths = torch.randn(2, 700, 16), torch.tensor([700, 9])  # longer than a block of the kernel
    mask = length_mask(lengths, 700, x.device)
    with torch.no_grad():
        plain = build(16, kind, fused="never").eval()(x, mask)[mask]
        fused = build(16, kind).eval()(x, mask)[mask]
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_no_further_from_the_truth_when_fused(kind: str) -> None:
    x, mask, away = torch.randn(2, 40, 64), length_mask(torch.tensor([40, 25]), 40, torch.device("cpu")), {}
    with torch.no_grad():
        truth = build(64, kind, fused="never").eval()(x, mask)[mask]
        for fused in ("never", "always"):
            with torch.autocast("cpu", torch.bfloat16):
                y = build(64, kind, fused=fused).eval()(x, mask)[mask]
            away[fused] = (y.float() - truth).abs().mean().item()
    assert away["always"] < 1.5 * away["never"]
    assert away["always"] < 0.02 * truth.abs().mean().item()


def calls(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rates of dropout the fused kernel is asked for."""
    asked: list[float] = []
    original: Any = torch.nn.functional.scaled_dot_product_attention

    def spy(*args: Any, **named: Any) -> Any:
        asked.append(named["dropout_p"])
        return original(*args, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return asked


@pytest.mark.parametrize(
    ("fused", "expected"), [("never", []), ("evaluation", [0.0]), ("always", [0.3, 0.0])], ids=lambda value: str(value)
)
def test_fused_where_asked(fused: str, expected: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, attention = calls(monkeypatch), build(8, dropout=0.3, fused=fused)
    for training in (True, False):
        attention.train(training)(torch.randn(1, 4, 8), torch.ones(1, 4, dtype=torch.bool))
    assert asked == expected


def test_training_is_the_written_out_form_unless_always_fused() -> None:
    attention, x = build(8, dropout=0.5).train(), torch.randn(2, 5, 8)
    mask = length_mask(torch.tensor([5, 3]), 5, x.device)
    torch.manual_seed(3)
    y = attention(x, mask)
    torch.manual_seed(3)
    query, key, value = attention.qkv(x).view(2, 5, 2, 3, 4).permute(3, 0, 2, 1, 4)
    query, key, scores = attention.position(query, key)
    weights = ((query @ key.transpose(-1, -2) + scores) / math.sqrt(4)).masked_fill(~mask[:, None, None], -math.inf)
    weights = attention.dropout(weights.softmax(-1))
    assert (weights == 0).any()
    torch.testing.assert_close(y, attention.out((weights @ value).transpose(1, 2).reshape(2, 5, 8)))


@pytest.mark.parametrize("kind", ["clipped", "none"])
def test_fused_dropout_drops_weights_at_its_rate_and_is_repeatable(kind: str) -> None:
    attention, mask = build(8, kind, dropout=0.3, fused="always").train(), torch.ones(1, 4, dtype=torch.bool)
    x = torch.randn(1, 4, 8).expand(4000, -1, -1)
    torch.manual_seed(5)
    y = attention(x, mask.expand(4000, -1))
    torch.manual_seed(5)
    assert torch.equal(y, attention(x, mask.expand(4000, -1)))
    whole = attention.eval()(x[:1], mask)[0]
    error = y.std(0) / math.sqrt(4000)
    assert ((y.mean(0) - whole).abs() < 5 * error).all(), "inverted dropout keeps the mean"
    query, key, value = attention.qkv(x[:1]).view(1, 4, 2, 3, 4).permute(3, 0, 2, 1, 4)
    query, key, scores = attention.position(query, key)
    weights = attention_weights(query, key, mask[:, None, None], scores)
    variance = (0.3 / 0.7 * weights.square()) @ value.square()  # of a sum of independent weights, kept or not
    spread = (y @ torch.linalg.inv(attention.out.weight).T).var(0)  # the projection has no bias
    torch.testing.assert_close(spread, variance.transpose(1, 2).reshape(4, 8), rtol=0.15, atol=1e-3)


def test_fused_attention_shares_no_dropout() -> None:
    with pytest.raises(ValidationError, match="share none"):
        SelfAttentionConfig(dropout_share="all_but_keys", fused="always")
    assert SelfAttentionConfig(dropout_share="all_but_keys", dropout=0, fused="always").dropout == 0


def parameters(attention: SelfAttention) -> int:
    return sum(parameter.numel() for parameter in attention.parameters())


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"position": {"kind": "clipped", "clip": 3}}, 4 * 36 + 7 * 3),
        ({"position": {"kind": "transformer_xl"}}, 4 * (36 + 6) + 36 + 2 * 6),
        ({"position": {"kind": "none"}}, 4 * 36),
        ({"position": {"kind": "none"}, "qk_norm": "l2"}, 4 * 36 + 2),
        ({"position": {"kind": "none"}, "qk_norm": "layer"}, 4 * 36 + 2 * 3),
    ],
)
def test_parameters_by_hand(fields: dict[str, Any], count: int) -> None:
    assert parameters(SelfAttentionConfig.model_validate({"heads": 2, **fields}).build(6)) == count


def test_rotary_scores_depend_on_the_distance_and_the_content() -> None:
    attention = build(8, "rotary").eval()
    assert parameters(attention) == 4 * 64
    x, mask = torch.randn(1, 7, 8), torch.ones(1, 7, dtype=torch.bool)
    turned = attention(x.flip(1), mask).flip(1)
    assert (turned - attention(x, mask)).abs().max() > 1e-3, "the order of frames counts"
    padded = torch.nn.functional.pad(x, (0, 0, 3, 0))
    late = attention(padded, torch.cat([torch.zeros(1, 3, dtype=torch.bool), mask], 1))
    torch.testing.assert_close(late[:, 3:], attention(x, mask))


def test_without_positions_the_order_of_frames_is_unknown() -> None:
    attention, x, mask = build(8, "none").eval(), torch.randn(1, 7, 8), torch.ones(1, 7, dtype=torch.bool)
    torch.testing.assert_close(attention(x.flip(1), mask).flip(1), attention(x, mask))
