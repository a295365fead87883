"""A weight matrix that a recurrence applies at every step, with its gradient computed once for all steps.

N rows of all steps together, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Repeated:
    """Applies a matrix [O, I] step by step.

    Left to autograd, every step would make a gradient as large as the matrix and add it to the others'.  Here the
    steps do not see the matrix as a parameter; what `begin` returns has the gradients of all steps in its own, and
    turns them into the matrix's by one product.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.fixed = weight, weight.detach()
        self.inputs: list[Tensor] = []
        self.watched = torch.is_grad_enabled()

    def begin(self, constant: Tensor) -> Tensor:
        """[N, O], the same values: of each step its rows must be added to the step's product, with their gradient.

        The rows must come in the order of the steps.
        """
        self.fixed = self.fixed.to(constant.dtype)
        result: Tensor = _Collected.apply(constant, self.weight, self.inputs)  # type: ignore[no-untyped-call]
        return result

    def __call__(self, x: Tensor) -> Tensor:
        """One step: [rows, I] -> [rows, O]."""
        x = x.to(self.fixed.dtype)
        if self.watched:
            self.inputs.append(x.detach())
        return torch.nn.functional.linear(x, self.fixed)


class _Collected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, constant: Tensor, weight: Tensor, inputs: list[Tensor]) -> Tensor:
        ctx.inputs, ctx.dtype = inputs, weight.dtype
        return constant.view_as(constant)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        if not ctx.needs_input_grad[1]:
            return gradient, None, None
        return gradient, (gradient.T @ torch.cat(ctx.inputs)).to(ctx.dtype), None
