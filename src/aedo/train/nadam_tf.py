"""Adam with Nesterov momentum as in RETURNN on TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class NAdamTf(torch.optim.Optimizer):
    """With m, v the moments of Adam after t updates of a parameter and gradient g:

        p <- p - lr sqrt(1 - b2^t) / (1 - b1^t) (b1 m + (1 - b1) g) / (sqrt(v) + eps)

    torch's NAdam differs in three ways: it has a schedule for the momentum, corrects m by it, and adds eps to the
    corrected sqrt(v).  Weight decay w adds w p to the gradient; RETURNN's L2 of x adds x p^2 to the loss: w = 2 x.
    Source: TensorFlow, ApplyAdam with use_nesterov.
    """

    def __init__(
        self, params: Any, lr: float = 0.0, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient.  There is no closure."""
        assert closure is None
        for group in self.param_groups:
            parameters: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if group["weight_decay"] != 0:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        states = [self._advanced(p) for p in parameters]
        means, squares = [s["mean"] for s in states], [s["square"] for s in states]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        ahead = torch._foreach_lerp(gradients, means, beta1)
        sizes = torch._foreach_sqrt(squares)
        torch._foreach_add_(sizes, group["eps"])
        rates = [-group["lr"] * math.sqrt(1 - beta2 ** s["step"]) / (1 - beta1 ** s["step"]) for s in states]
        torch._foreach_addcdiv_(parameters, ahead, sizes, rates)

    def _advanced(self, parameter: Tensor) -> dict[str, Any]:
        """The parameter's state, one update further."""
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        return state
