"""ScaledAdam: Adam whose updates are in proportion to the size of the tensor, and which learns that size too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

SCALE_RATE = 0.1
"""Learning rate of the sizes (and of single numbers, which have no size apart) as a share of the others'."""
SMALLEST, LARGEST = 1e-5, 3.0
"""Limits of a tensor's size: below, it is updated as if it had this one and shrinks no further; above, it shrinks."""
PERIOD = 100
"""Updates whose median norm bounds that of the following ones."""


class _Taking(NamedTuple):
    """The tensors of a group that have a gradient.  N tensors."""

    group: dict[str, Any]
    parameters: list[Tensor]
    gradients: list[Tensor]
    sizes: Tensor
    """[N] root mean square of each tensor."""


class ScaledAdam(torch.optim.Optimizer):
    """With r the root mean square of a tensor p, m and v the moments of Adam, n and w those of the product g p summed
    over the tensor (the gradient of the logarithm of its size), and c = sqrt(1 - b2^t) / (1 - b1^t):

        p <- p - lr c r m / (sqrt(v) + eps) - 0.1 lr c p n / (sqrt(w) + eps)

    Learning rates are relative changes: 20 to 50 times those of Adam.  The limits of r and the treatment of single
    numbers are those of icefall.  With `median_clip` the norm of all gradients, each times its r, is bounded by that
    many times the median of 100 updates, renewed after as many; the first hundred are not bounded.
    Source: Yao et al. 2023 (Zipformer), section 3.5.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        median_clip: float | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self.median_clip = median_clip

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient.  There is no closure.  Waits for nothing on the device."""
        assert closure is None
        taking = [self._take(group) for group in self.param_groups]
        taking = [one for one in taking if one.parameters]
        if self.median_clip is not None and taking:
            taking = self._clipped(taking, self.median_clip)
        for one in taking:
            self._update(one)

    def _take(self, group: dict[str, Any]) -> _Taking:
        parameters: list[Tensor] = [p for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not parameters:
            return _Taking(group, [], [], torch.empty(0))
        roots = _row([math.sqrt(p.numel()) for p in parameters], parameters[0])
        return _Taking(group, parameters, gradients, torch.stack(torch._foreach_norm(parameters)) / roots)

    def _update(self, taking: _Taking) -> None:
        group, parameters, gradients, sizes = taking
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        states = [self._advanced(p) for p in parameters]
        corrections = [math.sqrt(1 - beta2 ** s["step"]) / (1 - beta1 ** s["step"]) for s in states]
        single = _row([float(p.numel() == 1) for p in parameters], sizes).bool()
        rates = -lr * _row(corrections, sizes)  # [N]

        means, squares = [s["mean"] for s in states], [s["square"] for s in states]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)

        slopes = torch.stack([product.sum() for product in torch._foreach_mul(gradients, parameters)])  # [N]
        growth = rates * SCALE_RATE * self._normalised_slopes(slopes, states, beta1, beta2, eps)
        growth = growth.masked_fill((sizes < SMALLEST) & (growth < 0), 0.0)
        growth = torch.where(sizes > LARGEST, growth.clamp(max=-abs(lr) * SCALE_RATE), growth)
        growth = growth.masked_fill(single, 0.0)
        factors = rates * torch.where(single, SCALE_RATE, sizes.clamp(min=SMALLEST))

        directions = torch._foreach_sqrt(squares)
        torch._foreach_add_(directions, eps)
        directions = torch._foreach_div(means, directions)
        torch._foreach_mul_(directions, list(factors.unbind()))
        torch._foreach_mul_(parameters, list((1 + growth).unbind()))
        torch._foreach_add_(parameters, directions)

    @staticmethod
    def _normalised_slopes(
        slopes: Tensor, states: list[dict[str, Any]], beta1: float, beta2: float, eps: float
    ) -> Tensor:
        """Adam's direction for the logarithms of the sizes, [N], without its correction."""
        means, squares = [s["size_mean"] for s in states], [s["size_square"] for s in states]
        mean = torch.stack(means).lerp(slopes, 1 - beta1)
        square = torch.stack(squares).lerp(slopes.square(), 1 - beta2)
        torch._foreach_copy_(means, list(mean.unbind()))
        torch._foreach_copy_(squares, list(square.unbind()))
        return mean / (square.sqrt() + eps)

    def _advanced(self, parameter: Tensor) -> dict[str, Any]:
        """The parameter's state, one update further."""
        state: dict[str, Any] = self.state[parameter]
        if "step" not in state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
            state.update(size_mean=parameter.new_zeros(()), size_square=parameter.new_zeros(()))
        state["step"] += 1
        return state

    def _clipped(self, taking: list[_Taking], factor: float) -> list[_Taking]:
        """The gradients, scaled to the bound where they exceed it."""
        squares = [
            (torch.stack(torch._foreach_norm(one.gradients)) * one.sizes.clamp(min=SMALLEST)).square().sum()
            for one in taking
        ]
        norm = torch.stack(squares).sum().sqrt()
        state = self.state[self.param_groups[0]["params"][0]]  # the norms belong to all parameters; they are kept here
        if "norms" not in state:
            state.update(updates=0, norms=norm.new_zeros(PERIOD), bound=norm.new_full((), math.inf))
        state["norms"][state["updates"] % PERIOD] = norm
        scale = (state["bound"] / (norm + 1e-30)).clamp(max=1.0)
        state["updates"] += 1
        if state["updates"] % PERIOD == 0:
            state["bound"] = factor * state["norms"].median()
        return [one._replace(gradients=list(torch._foreach_mul(one.gradients, scale))) for one in taking]


def _row(values: list[float], like: Tensor) -> Tensor:
    """[N] on the device of another tensor; from pinned memory, so that the host need not wait for it."""
    row = torch.tensor(values, dtype=like.dtype)
    return (row.pin_memory() if like.is_cuda else row).to(like.device, non_blocking=True)
