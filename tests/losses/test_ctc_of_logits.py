from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aedo.losses.ctc import ctc_loss
from aedo.losses.ctc_of_logits import ctc_loss_of_logits, normalizers

LENGTHS, LABEL_LENGTHS = torch.tensor([7, 5, 1, 3]), torch.tensor([4, 2, 2, 0])
LABELS = torch.tensor([[1, 1, 3, 1], [2, 0, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0]])
"""A label repeated, one that returns, EOS as a label beside padding, labels that cannot fit, and no labels."""


def plain(logits: Tensor) -> Tensor:
    return ctc_loss(logits.log_softmax(-1), LENGTHS, LABELS, LABEL_LENGTHS)


def test_values_and_gradients_are_those_of_the_plain_loss() -> None:
    torch.manual_seed(0)
    logits, weights = torch.randn(4, 7, 6, requires_grad=True), torch.tensor([1.0, 0.3, 2.0, 0.7])
    ours, theirs = ctc_loss_of_logits(logits, LENGTHS, LABELS, LABEL_LENGTHS), plain(logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert ours[2] == 0
    (gradient,) = torch.autograd.grad(ours @ weights, logits)
    (expected,) = torch.autograd.grad(theirs @ weights, logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    assert not gradient[2].any()
    assert not gradient[1, 5:].any()


def test_the_gradient_is_that_of_the_value() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ctc_loss_of_logits(x, LENGTHS, LABELS, LABEL_LENGTHS), (logits,))


def test_bfloat16_logits_lose_nothing_in_the_loss_and_keep_small_differences_at_the_labels() -> None:
    torch.manual_seed(0)
    logits = torch.zeros(1, 4, 300, dtype=torch.bfloat16)
    logits[0, torch.arange(4), torch.tensor([5, 299, 6, 299])] = 9.0
    lengths, labels, count = torch.tensor([4]), torch.tensor([[5, 6]]), torch.tensor([2])
    exact = logits.double().requires_grad_()
    loss = ctc_loss(exact.log_softmax(-1), lengths, labels, count)
    (expected,) = torch.autograd.grad(loss.sum(), exact)
    ours = ctc_loss_of_logits(logits.requires_grad_(), lengths, labels, count)
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    assert gradient.dtype == torch.bfloat16
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), loss.double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), expected.double(), rtol=2**-7, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_normalizers_are_logarithms_of_sums_in_no_fewer_digits_than_single(dtype: torch.dtype) -> None:
    logits = (10 * torch.randn(3, 50)).to(dtype)
    ours = normalizers(logits)
    assert ours.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(ours.double(), logits.double().logsumexp(-1, keepdim=True), rtol=1e-6, atol=1e-6)


def test_without_gradients_the_value_is_the_same() -> None:
    logits = torch.randn(4, 7, 6, requires_grad=True)
    with torch.no_grad():
        alone = ctc_loss_of_logits(logits, LENGTHS, LABELS, LABEL_LENGTHS)
    assert torch.equal(alone, ctc_loss_of_logits(logits, LENGTHS, LABELS, LABEL_LENGTHS).detach())
    with torch.inference_mode():
        assert torch.equal(alone, ctc_loss_of_logits(logits, LENGTHS, LABELS, LABEL_LENGTHS))
