from __future__ import annotations

import torch

from aedo.nn.pooling import pool_bands, pool_time, pooled


def test_time_is_pooled_as_by_hand_and_the_last_frame_may_stand_for_fewer() -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(3, 8, 2), torch.tensor([8, 5, 1])
    y, shorter = pool_time(x, lengths, 3)
    assert shorter.tolist() == pooled(lengths, 3).tolist() == [3, 2, 1]
    for row, length in enumerate(lengths.tolist()):
        by_hand = [x[row, start : min(start + 3, length)].amax(0) for start in range(0, length, 3)]
        assert torch.equal(y[row, : len(by_hand)], torch.stack(by_hand))
        assert (y[row, len(by_hand) :] == 0).all()


def test_padding_never_enters_a_maximum() -> None:
    x = torch.tensor([[-3.0, -2.0, 9.0, 9.0]])[..., None]
    assert pool_time(x, torch.tensor([2]), 2)[0].flatten().tolist() == [-2.0, 0.0]


def test_bands_are_pooled_in_groups() -> None:
    x = torch.arange(5.0).view(1, 1, 1, 5)
    assert pool_bands(x, 2).flatten().tolist() == [1, 3, 4]


def test_pairs_of_bands_are_pooled_as_by_torch_and_of_equals_the_first_one_learns() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 3, (2, 3, 4, 6)).double().requires_grad_()
    ours, theirs = pool_bands(x, 2), torch.nn.functional.max_pool2d(x, (1, 2))
    assert torch.equal(ours, theirs)
    towards = torch.randn_like(ours)
    for layout in (towards, towards.contiguous(memory_format=torch.channels_last)):
        kept = layout.clone()
        (gradient,) = torch.autograd.grad(ours, x, layout, retain_graph=True)
        (expected,) = torch.autograd.grad(theirs, x, towards, retain_graph=True)
        assert torch.equal(gradient, expected)
        assert torch.equal(layout, kept)


def test_the_gradient_of_pooled_pairs_is_that_of_their_values() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: pool_bands(y, 2), (x,))
