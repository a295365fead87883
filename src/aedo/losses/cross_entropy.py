"""Cross-entropy whose value is plain and whose gradient is smoothed.  N packed labels, V labels of the vocabulary."""

from __future__ import annotations

from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, excluded: int | None = None) -> Tensor:
    """Negative log-probability of the targets, [N, V], [N] -> [N] float32.

    The value is not smoothed; the gradient is that of 1 - s on the target and s / (V - 1) on every other label.  Where
    a label is `excluded`, as a target it is not smoothed, and other targets give it nothing: s / (V - 2) each.
    Source: Szegedy et al. 2016; by gradient: RETURNN, label_smoothed_log_prob_gradient.
    """
    log_probs = logits.float().log_softmax(-1)
    nll = -log_probs.gather(-1, targets[:, None])[:, 0]
    if smoothing == 0.0:
        return nll
    labels, others = logits.shape[-1], log_probs.sum(-1)
    if excluded is not None:
        labels, others = labels - 1, others - log_probs[:, excluded]
    floor = smoothing / (labels - 1)
    smoothed = (1.0 - smoothing - floor) * nll - floor * others
    if excluded is not None:
        smoothed = smoothed.where(targets != excluded, nll)
    return nll.detach() + (smoothed - smoothed.detach())
