from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aedo.nn.pair_convolution import pair_convolution
from aedo.nn.pooling import pool_bands

B, T, F, C = 2, 7, 6, 5


def inputs(kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(B, T + kernel - 1, F + kernel - 1, dtype=torch.float64)
    weight = torch.randn(C, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    return x, weight, torch.randn(C, dtype=torch.float64, requires_grad=True)


def plain(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    return pool_bands(nn.functional.conv2d(x[:, None], weight, bias, stride=(stride, 1)), 2).relu()


@pytest.mark.parametrize("kernel", [1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_values_and_gradients_are_those_of_the_convolution_pooled(kernel: int, stride: int) -> None:
    x, weight, bias = inputs(kernel)
    ours, theirs = pair_convolution(x, weight, bias, stride), plain(x, weight, bias, stride)
    torch.testing.assert_close(ours, theirs)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    towards = torch.randn_like(theirs)
    for gradient, expected in zip(*(torch.autograd.grad(y, (weight, bias), towards) for y in (ours, theirs))):
        torch.testing.assert_close(gradient, expected)


def test_of_equal_bands_the_first_one_learns() -> None:
    x = torch.tensor([[[1.0, 1.0, 5.0], [2.0, 3.0, 4.0]]])  # two bands, of kernels that see no more than the ones
    weight = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    pair_convolution(x, weight, bias, 1).sum().backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == [1.0, 1.0, 2.0, 3.0]  # what the first band's kernel covers
    assert bias.grad is not None
    assert bias.grad.item() == 1.0


def test_under_autocast_products_have_its_type_and_gradients_that_of_the_weights() -> None:
    x, weight, bias = (tensor.detach().float() for tensor in inputs(3))
    weight.requires_grad_()
    bias.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = pair_convolution(x, weight, bias, 1)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), plain(x, weight, bias, 1), rtol=0.05, atol=0.05)
    y.float().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
