from __future__ import annotations

import torch

from aedo.nn.attention import SelfAttentionConfig
from aedo.nn.masks import length_mask


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    attention = SelfAttentionConfig(heads=2).build(8).eval()
    torch.nn.init.normal_(attention.position.table.weight)
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


def test_gradients_are_right_in_double_precision() -> None:
    torch.manual_seed(0)
    for kind in ("clipped", "transformer_xl"):
        attention = (
            SelfAttentionConfig.model_validate({"heads": 2, "position": {"kind": kind}}).build(4).double().eval()
        )
        mask = torch.tensor([[True, True, False]])
        x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda y, m=mask, a=attention: a(y, m)[:, :2], (x,), eps=1e-6, atol=1e-5)
