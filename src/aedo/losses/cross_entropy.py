"""Cross-entropy whose value is plain and whose gradient is smoothed.  N packed labels, V labels of the vocabulary."""

from __future__ import annotations

from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Negative log-probability of the targets, [N, V], [N] -> [N] float32.

    The value is not smoothed; the gradient is that of 1 - s on the target and s / (V - 1) on every other label.
    Source: Szegedy et al. 2016; by gradient: RETURNN, label_smoothed_log_prob_gradient.
    """
    log_probs = logits.float().log_softmax(-1)
    nll = -log_probs.gather(-1, targets[:, None])[:, 0]
    if smoothing == 0.0:
        return nll
    floor = smoothing / (logits.shape[-1] - 1)
    smoothed = (1.0 - smoothing - floor) * nll - floor * log_probs.sum(-1)
    return nll.detach() + (smoothed - smoothed.detach())
