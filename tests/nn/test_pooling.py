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
