"""The moving average of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from aedo.train.ema import MovingAverage
from tests.train.test_step import at, batch, same, step_of


def test_it_is_the_hand_made_one_running_statistics_included() -> None:
    model = nn.BatchNorm1d(1)
    average = MovingAverage(model, 0.5)
    expected = [model.weight.item(), model.running_mean.item()]  # type: ignore[union-attr]
    for number, value in enumerate((2.0, 5.0, -1.0, 7.0, 3.0, 4.0, 9.0, 8.0, 1.0, 6.0)):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(10 * value)  # type: ignore[union-attr]
            model.num_batches_tracked.fill_(number)  # type: ignore[union-attr]
        average.update(at(0))
        decay = min(0.5, (1 + number) / (10 + number))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, (value, 10 * value))]
    found = average.weights()
    assert [found["weight"].item(), found["running_mean"].item()] == pytest.approx(expected, rel=1e-5)
    assert found["num_batches_tracked"] == 9
    assert model.weight.item() == 6.0


def test_it_follows_updates_that_were_made_and_no_others() -> None:
    step = step_of(accumulate=1, ema=0.9)
    assert step.average is not None
    start = copy.deepcopy(step.average.weights())
    bad = batch(0)
    bad.audio[0] = float("nan")
    step.micro_step(bad, at(0))
    assert not step.update(at(0)).applied
    assert same(step.average.weights(), start)
    step.micro_step(batch(1), at(1))
    assert step.update(at(1)).applied
    now = step.model.state_dict()
    for name, value in step.average.weights().items():
        torch.testing.assert_close(value, 0.1 * start[name] + 0.9 * now[name] if value.is_floating_point() else value)


def test_it_is_part_of_the_state_and_changes_nothing_else() -> None:
    step, plain = step_of(accumulate=1, ema=0.9), step_of(accumulate=1)
    for number in range(2):
        for each in (step, plain):
            each.micro_step(batch(number), at(number))
            each.update(at(number))
    assert same(step.model.state_dict(), plain.model.state_dict())
    other = step_of(accumulate=1, ema=0.9, seed=3)
    other.model.load_state_dict(step.model.state_dict())
    other.load_state(copy.deepcopy(step.state()))
    assert step.average is not None
    assert other.average is not None
    assert same(other.average.weights(), step.average.weights())
    assert other.average.updates == 2
