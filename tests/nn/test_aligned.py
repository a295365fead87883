from __future__ import annotations

import torch
from torch import nn

from aedo.nn import aligned as room
from aedo.nn.aligned import MULTIPLE, aligned


def test_values_and_gradients_are_those_of_the_layer_and_rows_begin_at_multiples() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(5, MULTIPLE + 1), torch.randn(2, 3, 5, requires_grad=True)
    ours, theirs = aligned(layer, x), layer(x)
    torch.testing.assert_close(ours, theirs)
    assert ours.stride() == (6 * MULTIPLE, 2 * MULTIPLE, 1)
    towards, wanted = torch.randn_like(theirs), (x, layer.weight, layer.bias)
    for gradient, expected in zip(*(torch.autograd.grad(y, wanted, towards) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_gradients_are_those_of_the_values() -> None:
    tensors = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 5), (7, 5), (7,))]
    assert torch.autograd.gradcheck(room._Aligned.apply, tensors)


def test_layers_of_such_a_width_and_lower_precision_are_left_alone() -> None:
    layer, odd, x = nn.Linear(5, MULTIPLE), nn.Linear(5, 7), torch.randn(2, 3, 5)
    assert torch.equal(aligned(layer, x), layer(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(aligned(odd, x), odd(x))
        assert aligned(odd, x).is_contiguous()
