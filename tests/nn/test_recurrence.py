from __future__ import annotations

import pytest
import torch

from aedo.nn.recurrence import Repeated


def loop(weight: torch.Tensor, constant: torch.Tensor, *, repeated: bool) -> torch.Tensor:
    """Three steps over 3, 2 and 2 rows, each from the one before."""
    matrix = Repeated(weight)
    if repeated:
        constant = matrix.begin(constant)
    state, states = torch.zeros(3, 4, dtype=constant.dtype), []
    for part in torch.split(constant, [3, 2, 2]):
        state = state[: len(part)]
        state = (part + (matrix(state) if repeated else torch.nn.functional.linear(state, weight))).tanh()
        states.append(state)
    return torch.cat(states)


def test_values_and_gradients_are_those_of_the_plain_loop() -> None:
    torch.manual_seed(0)
    weight, constant = torch.randn(4, 4, dtype=torch.float64), torch.randn(7, 4, dtype=torch.float64)
    found = []
    for repeated in (False, True):
        inputs = [weight.clone().requires_grad_(), constant.clone().requires_grad_()]
        states = loop(*inputs, repeated=repeated)
        found.append((states, *torch.autograd.grad((states * torch.arange(7)[:, None]).sum(), inputs)))
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_a_matrix_that_learns_nothing_gets_no_gradient() -> None:
    weight, constant = torch.randn(4, 4), torch.randn(7, 4, requires_grad=True)
    loop(weight, constant, repeated=True).sum().backward()
    assert weight.grad is None
    assert constant.grad is not None


@pytest.mark.parametrize("grad", [False, True])
def test_inputs_are_kept_only_for_a_gradient(grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        matrix = Repeated(torch.randn(4, 4, requires_grad=True))
        matrix.begin(torch.randn(2, 4))
        matrix(torch.randn(2, 4))
    assert len(matrix.inputs) == grad
