"""Cross-entropy whose value is plain and whose gradient is smoothed.  N packed labels, V labels of the vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aedo.nn.precision import single

_ELEMENTS = 1 << 19
"""Of the logits at a time, on a CPU: what fits into its caches."""


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, excluded: int | None = None) -> Tensor:
    """Negative log-probability of the targets, [N, V], [N] -> [N] float32.

    The value is not smoothed; the gradient is that of 1 - s on the target and s / (V - 1) on every other label.  Where
    a label is `excluded`, as a target it is not smoothed, and other targets give it nothing: s / (V - 2) each.  Keeps
    nothing of the logits' size but the logits.
    Source: Szegedy et al. 2016; by gradient: RETURNN, label_smoothed_log_prob_gradient.
    """
    found: Tensor = _CrossEntropy.apply(logits, targets, smoothing, excluded)  # type: ignore[no-untyped-call]
    return found


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float, excluded: int | None) -> Tensor:
        ctx.smoothing, ctx.excluded = smoothing, excluded
        ctx.save_for_backward(logits, targets)
        chosen = [
            single(part).log_softmax(-1).gather(1, of_part[:, None])
            for part, of_part in zip(*_parts(logits, targets), strict=True)
        ]
        return torch.cat(chosen)[:, 0].neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None, None, None]:
        """factor [N] -> factor x (softmax - smoothed target), [N, V] of the logits' type."""
        logits, targets = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        for found, part, of_part, times in zip(*_parts(gradient, logits, targets, factor[:, None]), strict=True):
            found.copy_(_gradient(single(part).softmax(-1), of_part, times, ctx.smoothing, ctx.excluded))
        return gradient, None, None, None


def _gradient(probabilities: Tensor, targets: Tensor, factor: Tensor, smoothing: float, excluded: int | None) -> Tensor:
    """Softmax [n, V], targets [n], factor [n, 1] -> [n, V], in the place of the softmax."""
    at = targets[:, None]
    labels = probabilities.shape[1] - (excluded is not None)
    floor = smoothing / max(labels - 1, 1)
    of_target = probabilities.gather(1, at)
    if excluded is None:
        probabilities.sub_(floor)
        of_target -= 1.0 - smoothing
    else:
        smooth, apart = at != excluded, probabilities[:, excluded].clone()
        probabilities.sub_(floor * smooth)
        probabilities[:, excluded] = apart
        of_target -= 1.0 - smoothing * smooth
    return probabilities.scatter_(1, at, of_target).mul_(factor)


def _parts(logits: Tensor, *others: Tensor) -> list[tuple[Tensor, ...]]:
    """Of each [N, ...] a few rows at a time; all of them on other devices than CPUs."""
    rows = len(logits) if logits.device.type != "cpu" else _ELEMENTS // max(logits.shape[1], 1)
    return [torch.split(x, max(rows, 1)) for x in (logits, *others)]
