from __future__ import annotations

import pytest
import torch

from aedo.nn.dropout import DropoutConfig
from aedo.nn.feedforward import FeedForward, FeedForwardConfig


def build(**fields: object) -> FeedForward:
    torch.manual_seed(0)
    return FeedForwardConfig.model_validate({"dim": 6, **fields}).build(4, DropoutConfig(rate=0.0))


@pytest.mark.parametrize("activation", ["relu", "relu2", "swish"])
def test_plain_networks_are_their_formula(activation: str) -> None:
    network, x = build(activation=activation), torch.randn(3, 4)
    torch.nn.init.normal_(network.hidden.bias)
    hidden = x @ network.hidden.weight.T + network.hidden.bias
    active = {"relu": hidden.clamp(min=0), "relu2": hidden.clamp(min=0) ** 2, "swish": hidden * hidden.sigmoid()}
    torch.testing.assert_close(network(x), active[activation] @ network.out.weight.T + network.out.bias)


def test_a_gated_network_multiplies_its_second_half_by_the_swish_of_the_first() -> None:
    network, x = build(activation="swiglu", bias=False), torch.randn(3, 4)
    gate, value = (x @ network.hidden.weight.T).split(6, -1)
    torch.testing.assert_close(network(x), (gate * gate.sigmoid() * value) @ network.out.weight.T)
    assert {name: tuple(p.shape) for name, p in network.named_parameters()} == {
        "hidden.weight": (12, 4),
        "out.weight": (4, 6),
    }


def test_a_network_without_bias_is_one_with_zero_biases() -> None:
    with_bias, without, x = build(), build(bias=False), torch.randn(3, 4)
    missing = with_bias.load_state_dict(without.state_dict(), strict=False).missing_keys
    assert set(missing) == {"hidden.bias", "out.bias"}
    torch.testing.assert_close(with_bias(x), without(x))  # biases start at zero
