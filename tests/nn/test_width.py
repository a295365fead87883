from __future__ import annotations

import torch

from aedo.nn.attention import SelfAttentionConfig
from aedo.nn.convolution import ConvolutionConfig
from aedo.nn.dropout import DropoutConfig
from aedo.nn.feedforward import FeedForwardConfig
from aedo.nn.width import Width
from aedo.schedule import START, Steps

HALF = Steps(nodes=(10,), values=(0.5, 1.0))


def test_only_the_first_units_pass_until_all_do() -> None:
    width, x = Width(Steps(nodes=(10,), values=(0.6, 1.0)), group=2), torch.ones(2, 3, 8)
    assert width(x) is x
    width.advance(START)
    assert width(x)[0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0], "whole groups"
    width.advance(START._replace(micro_step=10))
    assert width(x) is x


def test_at_least_one_group_passes() -> None:
    width = Width(Steps(nodes=(10,), values=(0.01, 1.0)), group=4)
    width.advance(START)
    assert width(torch.ones(8)).sum() == 4


def test_a_narrow_feed_forward_network_is_a_smaller_one() -> None:
    torch.manual_seed(0)
    quiet, x = DropoutConfig(rate=0.0), torch.randn(2, 5, 4)
    wide, small = FeedForwardConfig(dim=6).build(4, quiet, HALF), FeedForwardConfig(dim=3).build(4, quiet)
    with torch.no_grad():
        small.hidden.weight.copy_(wide.hidden.weight[:3])
        small.out.weight.copy_(wide.out.weight[:, :3])
    wide.width.advance(START)
    torch.testing.assert_close(wide(x), small(x))


def test_narrow_attention_has_its_first_heads_only() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
    wide, other = SelfAttentionConfig(heads=4).build(8, HALF).eval(), SelfAttentionConfig(heads=4).build(8).eval()
    other.load_state_dict(wide.state_dict())
    with torch.no_grad():
        other.out.weight[:, 4:] = 0
    wide.width.advance(START)
    torch.testing.assert_close(wide(x, mask), other(x, mask))


def test_units_not_in_use_learn_nothing() -> None:
    torch.manual_seed(0)
    module, mask = ConvolutionConfig(kernel=3).build(8, HALF), torch.ones(2, 5, dtype=torch.bool)
    module.width.advance(START)
    module(torch.randn(2, 5, 8), mask, 10).square().sum().backward()
    assert module.depthwise.weight.grad is not None
    assert module.pointwise_out.weight.grad is not None
    for gradient in (module.depthwise.weight.grad, module.pointwise_out.weight.grad.T):
        assert (gradient[4:] == 0).all()
        assert (gradient[:4] != 0).any()
