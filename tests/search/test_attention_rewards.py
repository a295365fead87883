"""Coverage and monotonicity: signs, and sums that do not depend on how steps are batched."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aedo.search.attention_rewards import AttentionReward, Coverage, Monotonicity

MASK = torch.ones(1, 4, dtype=torch.bool)


def total(reward: AttentionReward, *frames: int) -> float:
    """Of attention to one frame at each step."""
    state, found = reward.start(MASK), torch.zeros(1, 1)
    for frame in frames:
        value, state = reward.step(looking_at(frame), state)
        found = found + value
    return found.item()


def looking_at(frame: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor([[frame]]), 4).float()


def test_coverage_counts_what_was_looked_at_once() -> None:
    assert total(Coverage("log1p"), 0, 1, 2) == pytest.approx(3 * math.log(2))
    assert total(Coverage("log1p"), 0, 0, 0) == pytest.approx(math.log(2))
    assert total(Coverage("indicator"), 0, 1, 1, 3) == pytest.approx(3.0)
    assert total(Coverage("excess", 1.5), 0, 1, 1, 1) == pytest.approx(1.5)


def test_moving_on_is_free_and_staying_or_going_back_costs() -> None:
    assert total(Monotonicity(), 0, 1, 2, 3) == 0.0
    assert total(Monotonicity(), 2, 2) == -1.0
    assert total(Monotonicity(), 0, 3, 1) == -3.0
    assert total(Monotonicity(advance=0.0), 2, 2, 1) == -1.0


def test_hypotheses_keep_what_they_saw_when_they_change_places() -> None:
    reward = Coverage("log1p")
    _, state = reward.step(torch.cat([looking_at(0), looking_at(1)], 1), reward.start(MASK))
    swapped = state.gather(torch.tensor([0]), torch.tensor([[1, 0]]))
    value, after = reward.step(torch.cat([looking_at(1), looking_at(1)], 1), swapped)
    assert value[0].tolist() == pytest.approx([0.0, math.log(2)])
    columns, taken = torch.tensor([[0]]), torch.tensor([[True]])
    put = state.put(columns, after.gather(torch.tensor([0]), torch.tensor([[1]])), taken)
    assert torch.equal(put.seen[:, 0], after.seen[:, 1])
    assert torch.equal(put.seen[:, 1], state.seen[:, 1])
