from __future__ import annotations

import pytest
import torch

from aedo.nn.depthwise import depthwise


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("batch", "frames", "features", "taps"), [(2, 9, 3, 4), (1, 4, 5, 4), (3, 40, 8, 32), (2, 6, 4, 1)]
)
def test_values_and_gradients_are_those_of_torchs_convolution(
    batch: int, frames: int, features: int, taps: int, bias: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, frames, features, dtype=torch.float64, requires_grad=True)
    convolution = torch.nn.Conv1d(features, features, taps, groups=features, bias=bias, dtype=torch.float64)
    inputs = [x, convolution.weight, *([convolution.bias] if bias else [])]
    found = depthwise(x, convolution.weight, convolution.bias)
    expected = convolution(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(found)
    ours, torchs = (torch.autograd.grad(y, inputs, gradient) for y in (found, expected))
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_each_gradient_comes_without_the_others(wanted: int) -> None:
    inputs = [torch.randn(1, 4, 3), torch.randn(3, 1, 2), torch.randn(3)]
    inputs[wanted].requires_grad_()
    depthwise(*inputs).sum().backward()
    assert [x.grad is not None for x in inputs] == [place == wanted for place in range(3)]


def test_under_autocast_it_computes_in_its_type_and_parameters_get_gradients_in_theirs() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 20, 6, requires_grad=True), torch.randn(6, 1, 5), torch.randn(6)
    weight.requires_grad_()
    bias.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = depthwise(x, weight, bias)
    assert found.dtype == torch.bfloat16
    exact = depthwise(x, weight, bias)
    torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.05)
    gradient = torch.randn_like(exact)
    mixed = torch.autograd.grad(found, [x, weight, bias], gradient.bfloat16())
    for one, other in zip(mixed, torch.autograd.grad(exact, [x, weight, bias], gradient), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.1)
