from __future__ import annotations

import pytest
import torch

from aedo.search import largest as room
from aedo.search.largest import largest


@pytest.mark.parametrize("size", [3, 64, 8191, 8192, 10_025, 20_000])
@pytest.mark.parametrize("count", [1, 3, 16, 17])
def test_it_is_topk_in_one_pass_and_in_two(size: int, count: int) -> None:
    torch.manual_seed(size + count)
    x = torch.randn(2, 3, size + 5)[..., :size]
    x[0, 0, : size - 1] = float("-inf")  # fewer than were asked for
    values, places = largest(x, min(count, size))
    expected = x.topk(min(count, size), -1)
    assert torch.equal(values, expected.values)
    assert torch.equal(x.gather(-1, places), values)
    rows = values.isfinite().all(-1)
    assert torch.equal(places[rows], expected.indices[rows])
    assert all(len(row.unique()) == len(row) for row in places.flatten(0, 1))


def test_the_largest_may_all_lie_in_one_block_or_behind_the_last_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MANY", 0)
    monkeypatch.setattr(room, "_EACH", 0)
    x = torch.zeros(1, 64 * 9 + 7)
    x[0, 64:70] = torch.arange(1.0, 7.0)
    x[0, -3:] = torch.tensor([9.0, 8.0, 0.5])
    values, places = largest(x, 9)
    assert values[0].tolist() == [9.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5]
    assert places[0].tolist() == [580, 581, 69, 68, 67, 66, 65, 64, 582]
