from __future__ import annotations

import itertools

import pytest
import torch

from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import CtcConfig, ctc_loss


def test_smoothing_leaves_the_value_and_smooths_the_gradient() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 5, requires_grad=True), torch.tensor([0, 1, 2, 3, 4, 0])
    plain = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    ours = cross_entropy(logits, targets, 0.1)
    torch.testing.assert_close(ours, plain)
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    smooth = torch.full((6, 5), 0.1 / 4).scatter_(1, targets[:, None], 0.9)
    torch.testing.assert_close(gradient, logits.softmax(-1).detach() - smooth)


def test_without_smoothing_it_is_plain_cross_entropy() -> None:
    logits, targets = torch.randn(6, 5, requires_grad=True), torch.tensor([0, 1, 2, 3, 4, 0])
    ours = torch.autograd.grad(cross_entropy(logits, targets, 0.0).sum(), logits)[0]
    plain = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"), logits)[0]
    torch.testing.assert_close(ours, plain)


def test_ctc_sums_over_every_path() -> None:
    torch.manual_seed(0)
    log_probs, labels = torch.randn(1, 4, 3).log_softmax(-1), [0, 0]
    total = torch.tensor(0.0)
    for path in itertools.product(range(3), repeat=4):
        collapsed = [label for label, _ in itertools.groupby(path) if label != 2]
        if collapsed == labels:
            total = total + torch.stack([log_probs[0, t, label] for t, label in enumerate(path)]).sum().exp()
    ours = ctc_loss(log_probs, torch.tensor([4]), torch.tensor([labels]), torch.tensor([2]))
    torch.testing.assert_close(ours[0], -total.log())


def test_labels_that_cannot_fit_cost_nothing() -> None:
    log_probs = torch.randn(1, 2, 3).log_softmax(-1)
    assert ctc_loss(log_probs, torch.tensor([2]), torch.tensor([[0, 0]]), torch.tensor([2])).item() == 0


def test_scales_belong_to_their_layers() -> None:
    config = CtcConfig(layers=(4, 8), scales=(0.1, 0.2))
    assert [config.scale(layer) for layer in config.layers] == [0.1, 0.2]
    assert CtcConfig().scale(8) == pytest.approx(1.0)
