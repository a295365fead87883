from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aedo.nn.dropout import DropoutConfig
from aedo.nn.feedforward import FeedForward, FeedForwardConfig
from aedo.nn.sparse_feedforward import MULTIPLE, computed_units, sparse_squared_relu

F, D = 40, 6


def inputs(biased: bool = True) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    shapes = ((2, 3, D), (F, D), (F,), (D, F), (D,)) if biased else ((2, 3, D), (F, D), (D, F))
    return tuple(torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


def plain(x: Tensor, hidden: Tensor, hidden_bias: Tensor, out: Tensor, out_bias: Tensor, keep: Tensor) -> Tensor:
    squared = torch.nn.functional.linear(x, hidden, hidden_bias).relu().square()
    return torch.nn.functional.linear(squared * keep, out, out_bias)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 30, F])
def test_values_and_gradients_are_those_of_all_units(kept: int) -> None:
    tensors, keep = inputs(), torch.zeros(F, dtype=torch.float64)
    keep[torch.randperm(F)[:kept]] = 1.25
    ours, theirs = sparse_squared_relu(*tensors, keep), plain(*tensors, keep)  # type: ignore[arg-type]
    torch.testing.assert_close(ours, theirs)
    towards = torch.randn_like(ours)
    for gradient, expected in zip(*(torch.autograd.grad(y, tensors, towards) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("biased", [True, False])
def test_gradients_are_those_of_the_values(biased: bool) -> None:
    keep = (torch.arange(F) % 3 > 0).double() * 1.5

    def of(*tensors: Tensor) -> Tensor:
        x, hidden, hidden_bias, out, out_bias = tensors if biased else (*tensors[:2], None, tensors[2], None)  # type: ignore[assignment]
        return sparse_squared_relu(x, hidden, hidden_bias, out, out_bias, keep)

    assert torch.autograd.gradcheck(of, inputs(biased))


def test_kept_units_are_computed_and_no_more_dropped_ones_than_rows_need() -> None:
    keep = torch.zeros(F)
    keep[[3, 4, 5, 11, 12, 20, 30, 31, 39]] = 1.0
    units, others = computed_units(keep)
    assert len(units) == 2 * MULTIPLE
    assert units.tolist() == sorted(set(units.tolist()))
    assert keep[units].count_nonzero() == 9
    assert sorted([*units.tolist(), *others.tolist()]) == list(range(F))
    units, others = computed_units(torch.ones(13))
    assert (len(units), len(others)) == (13, 0)


def test_of_the_matrices_nothing_is_stored_but_themselves() -> None:
    tensors, keep, stored = inputs(), (torch.arange(F) % 3 > 0).double(), list[Tensor]()

    def note(tensor: Tensor) -> Tensor:
        stored.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        sparse_squared_relu(*tensors, keep)  # type: ignore[arg-type]
    own = {tensor.data_ptr() for tensor in (*tensors, keep)}
    assert [tuple(tensor.shape) for tensor in stored if tensor.data_ptr() not in own] == [(6, 32)]  # the hidden units


def forward(rate: float, share: str = "batch_time", activation: str = "relu2") -> FeedForward:
    torch.manual_seed(0)
    dropout = DropoutConfig.model_validate({"rate": rate, "share": share})
    return FeedForwardConfig.model_validate({"dim": 2048, "activation": activation}).build(D, dropout).train()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_training_drops_the_units_that_it_drops_anyway(precision: torch.dtype) -> None:
    module, x = forward(0.4), torch.randn(2, 3, D)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        torch.manual_seed(1)
        y = module(x)
        torch.manual_seed(1)
        expected = module.out(module.dropout(module.activation(module.hidden(x))))
    assert y.dtype == precision
    tolerance = 1e-5 if precision == torch.float32 else 0.03
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    y.float().sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("rate", "share", "activation", "training"),
    [
        (0.0, "batch_time", "relu2", True),
        (0.4, "none", "relu2", True),
        (0.4, "time", "relu2", True),
        (0.4, "batch_time", "swish", True),
        (0.4, "batch_time", "relu2", False),
    ],
)
def test_elsewhere_the_layers_follow_each_other_as_ever(
    rate: float, share: str, activation: str, training: bool
) -> None:
    module, x = forward(rate, share, activation).train(training), torch.randn(2, 3, D)
    torch.manual_seed(1)
    y = module(x)
    torch.manual_seed(1)
    assert torch.equal(y, module.out(module.dropout(module.activation(module.hidden(x)))))
