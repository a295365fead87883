"""Noise on the weights and dropout of weights: where, how much, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aedo.errors import UserError
from aedo.train.weight_noise import WeightDropoutConfig, WeightNoiseConfig, weight_matrices
from tests.train.micro import micro_experiment
from tests.train.test_step import VOCABULARY, at, batch, same, step_of, weights

NOISE, DROPOUT = {"weight_noise": {"std": 0.1}}, {"weight_dropout": {"rate": 0.3}}


def test_weight_matrices_are_those_of_linear_layers_and_lstms() -> None:
    names = set(weight_matrices(micro_experiment().build_model(VOCABULARY)))
    assert {"encoder.layers.0.ff1.hidden.weight", "ctc_heads.1.weight", "frontend.projection.weight"} <= names
    assert {"decoder.lstm.weight_input", "decoder.lstm.weight_hidden", "decoder.output.weight"} <= names
    others = ("embedding", "convolutions", "depthwise", "norm", "bias", "position")
    assert not [name for name in names if any(other in name for other in others)]
    lstm = nn.ModuleDict({"front": nn.LSTM(2, 3, bidirectional=True)})
    assert len(weight_matrices(lstm)) == 4


def test_noise_has_its_deviation_on_the_chosen_weights_and_leaves_no_trace() -> None:
    model = nn.ModuleDict({"a": nn.Linear(300, 300), "b": nn.Linear(300, 300)})
    before, noise = weights(model), WeightNoiseConfig(std=0.1, names=("a.*",)).build(model)  # type: ignore[arg-type]
    torch.manual_seed(0)
    with noise(at(0)):
        added = model["a"].weight.detach() - before["a.weight"]
        assert added.std().item() == pytest.approx(0.1, rel=0.02)
        assert added.mean().abs().item() < 0.002
        assert torch.equal(model["b"].weight, before["b.weight"])
        assert torch.equal(model["a"].bias, before["a.bias"])
    assert same(model.state_dict(), before)
    with pytest.raises(ZeroDivisionError), noise(at(1)):
        raise ZeroDivisionError
    assert same(model.state_dict(), before)


def test_gradients_are_those_at_the_noisy_weights() -> None:
    layer = nn.Linear(3, 1, bias=False)
    with WeightNoiseConfig(std=1.0).build(layer)(at(0)):
        noisy = layer.weight.detach().clone()
        layer.weight.square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, 2 * noisy)
    assert not torch.allclose(layer.weight, noisy)


def test_dropped_weights_are_zero_and_get_no_gradient_the_others_are_scaled() -> None:
    layer = nn.Linear(400, 400, bias=False)
    before = layer.weight.detach().clone()
    dropout = WeightDropoutConfig(rate=0.2).build(layer)
    total = torch.zeros_like(before)
    for number in range(2):  # gradients of an earlier micro-step keep their own mask
        with dropout(at(number)):
            kept = layer.weight.detach() != 0
            torch.testing.assert_close(layer.weight.detach()[kept], before[kept] / 0.8)
            assert kept.float().mean().item() == pytest.approx(0.8, abs=0.005)
            (3 * layer.weight).sum().backward()
            total += torch.where(kept, 3 / 0.8, 0.0)
    torch.testing.assert_close(layer.weight.grad, total)
    assert torch.equal(layer.weight, before)
    assert not layer.weight._backward_hooks


def gradients(micro_steps: int = 1, **train: Any) -> list[torch.Tensor]:
    step = step_of(**train)
    before = {name: parameter.detach().clone() for name, parameter in step.model.named_parameters()}
    for number in range(micro_steps):
        step.micro_step(batch(0), at(number))
    assert all(torch.equal(parameter, before[name]) for name, parameter in step.model.named_parameters())
    return [parameter.grad for parameter in step.parameters if parameter.grad is not None]


@pytest.mark.parametrize("part", [NOISE, DROPOUT, {**NOISE, **DROPOUT}])
def test_a_micro_step_under_noise_leaves_the_weights_as_they_were(part: dict[str, Any]) -> None:
    noisy, again, plain = gradients(**part), gradients(**part), gradients()
    assert all(torch.equal(one, other) for one, other in zip(noisy, again))
    assert not all(torch.equal(one, other) for one, other in zip(noisy, plain))


def test_every_micro_step_of_an_update_has_its_own_noise() -> None:
    step = step_of(**NOISE)
    seen = []
    weight = step.model.encoder.layers[0].ff1.hidden.weight
    step.model.encoder.register_forward_hook(lambda *call: seen.append(weight.detach().clone()))
    for number in range(2):
        step.micro_step(batch(0), at(number))
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("part", [{"weight_noise": {"std": 0.0}}, {"weight_dropout": {"rate": 0.0}}])
def test_off_changes_nothing(part: dict[str, Any]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(gradients(2, **part), gradients(2)))


def test_a_schedule_at_zero_draws_nothing() -> None:
    later = {"std": {"kind": "steps", "nodes": (5,), "values": (0.0, 0.1)}}
    assert all(torch.equal(a, b) for a, b in zip(gradients(2, weight_noise=later), gradients(2)))


def test_a_pattern_without_weights_is_refused() -> None:
    with pytest.raises(UserError, match=r"weight_noise.names: no weight matrix is called 'encodr"):
        step_of(weight_noise={"std": 0.1, "names": ("encodr.*",)})
