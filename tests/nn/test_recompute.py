from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from aedo.nn.recompute import remade

N, D = 7, 6


def layers() -> tuple[nn.LayerNorm, nn.Linear, Tensor]:
    torch.manual_seed(0)
    return nn.LayerNorm(D), nn.Linear(D, 3), torch.randn(N, D, requires_grad=True)


def gradients(y: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(y.square().sum(), of)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_the_same_to_the_last_bit(precision: torch.dtype) -> None:
    norm, linear, x = layers()
    of = (x, *norm.parameters(), *linear.parameters())
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        ours, plain = remade(norm, linear, x), linear(norm(x))
    assert torch.equal(ours, plain)
    for one, other in zip(gradients(ours, *of), gradients(plain, *of), strict=True):
        assert torch.equal(one, other)


def test_what_is_made_is_not_kept() -> None:
    norm, linear, x = layers()
    made: list[Tensor] = []

    def make(tensor: Tensor) -> Tensor:
        made.append(norm(tensor))
        return made[-1]

    y = remade(make, lambda normed: linear(normed.view(1, N, D)), x)
    released = weakref.ref(made.pop())
    gc.collect()
    assert released() is None
    gradients(y, linear.weight)
    assert len(made) == 1


def test_other_tensors_are_kept_as_ever() -> None:
    _, _, x = layers()
    times: list[int] = []

    def make(tensor: Tensor) -> Tensor:
        times.append(1)
        return tensor + 1.0

    y = remade(make, lambda tensor: (2.0 * tensor).square(), x)  # the square keeps a tensor of its own
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, 8.0 * (x.detach() + 1.0))
    assert len(times) == 1


def test_without_gradients_nothing_is_remade() -> None:
    norm, linear, x = layers()
    with torch.no_grad():
        assert torch.equal(remade(norm, linear, x), linear(norm(x)))


def test_views_of_what_is_made_are_views_of_what_is_remade() -> None:
    x, weight = torch.randn(2, 5, 3, requires_grad=True), torch.randn(3, 1, 2, requires_grad=True)

    def use(y: Tensor) -> Tensor:  # keeps a part of y, turned around
        return nn.functional.conv1d(y[:, 1:].transpose(1, 2), weight, groups=3)

    ours, plain = remade(torch.sin, use, x), use(torch.sin(x))
    assert torch.equal(ours, plain)
    for one, other in zip(gradients(ours, x, weight), gradients(plain, x, weight), strict=True):
        torch.testing.assert_close(one, other)
