from __future__ import annotations

import pytest
import torch
from torch import Tensor

import aedo.nn.energies
from aedo.nn.additive_attention import AdditiveAttention
from aedo.nn.energies import Energies, EnergyGradients


def weights(energies: Tensor) -> Tensor:
    """What the softmax leaves of them: constants do not count."""
    return energies.softmax(-1)


@pytest.mark.parametrize("elements", [1, 1 << 21])
@pytest.mark.parametrize(("heads", "feedback"), [(1, True), (3, True), (2, False)])
def test_values_and_gradients_are_those_of_the_attention_written_out(
    heads: int, feedback: bool, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aedo.nn.energies, "_ELEMENTS", elements)
    torch.manual_seed(0)
    attention = AdditiveAttention(3, 5, 4, heads, weight_feedback=feedback).double()
    query, keys = torch.randn(2, 5).double().requires_grad_(), torch.randn(2, 6, 5).double().requires_grad_()
    accumulated = torch.rand(2, heads, 6).double().requires_grad_()
    expected = attention(query, keys, accumulated, torch.ones(2, 6, dtype=torch.bool))
    linear = None if attention.feedback is None else attention.feedback.weight
    energies = Energies.of(keys, linear, attention.energy.weight)
    found = energies(query.detach(), accumulated.detach())
    torch.testing.assert_close(weights(found), expected)

    towards = torch.randn_like(expected)
    inputs = [query, keys, attention.energy.weight, *([] if linear is None else [linear, accumulated])]
    exact = torch.autograd.grad((expected * towards).sum(), inputs)
    sums, of_accumulated = EnergyGradients.zeros(energies), torch.zeros_like(accumulated)
    of_weights = found.requires_grad_()
    (gradient,) = torch.autograd.grad((weights(of_weights) * towards).sum(), of_weights)
    of_query = sums.add(gradient, query.detach(), accumulated.detach(), of_accumulated)
    mine = [of_query, sums.keys, sums.energy, *([] if linear is None else [sums.feedback.t(), of_accumulated])]
    for ours, theirs in zip(mine, exact, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_first_of_a_batch_may_go_on_alone() -> None:
    torch.manual_seed(0)
    energies = Energies.of(torch.randn(3, 6, 5), torch.randn(5, 1), torch.randn(1, 5))
    query, accumulated = torch.randn(3, 5), torch.rand(3, 1, 6)
    whole = energies(query, accumulated)
    torch.testing.assert_close(energies(query[:2], accumulated[:2]), whole[:2])
