"""Which checkpoints stay."""

from __future__ import annotations

import pytest

from aedo.train.config import KeepConfig
from aedo.train.keep import best_epochs, fixed_epochs, kept_epochs, last_part


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (2000, {1280, 20, 40, 80, 160, 320, 640, 2000}),
        (500, {320, 20, 40, 80, 160, 500}),
        (100, {40, 80, 10, 20, 100}),
        (50, {20, 40, 5, 10, 50}),
        (10, {4, 8, 5, 10}),
        (1, {1}),
    ],
)
def test_fixed_epochs_follow_the_rule_of_the_reference(epochs: int, expected: set[int]) -> None:
    assert fixed_epochs(epochs) == expected


def test_the_last_and_the_best_by_each_dev_value_stay_besides_the_fixed_ones() -> None:
    scores = {epoch: {"dev_ce": abs(epoch - 13.1), "dev_ler": -float(epoch == 3)} for epoch in range(1, 31)}
    kept = kept_epochs(scores, 200, KeepConfig(last=2, best=1))
    assert kept == {20, 29, 30, 13, 3}


def test_a_value_that_is_not_a_number_is_never_the_best() -> None:
    scores = {1: {"dev_ce": float("nan")}, 2: {"dev_ce": 2.0}, 3: {"dev_ce": 1.0}, 4: {"dev_ce": 2.0}}
    assert best_epochs(scores, "dev_ce", 3) == [3, 2, 4]
    assert best_epochs(scores, "dev_nonsense", 3) == []


def test_last_part_of_a_training_holds_its_last_epoch_at_least() -> None:
    assert last_part({1, 5, 9, 10}, 10, 0.1) == [10]
    assert last_part({1, 20, 28, 29, 30}, 30, 0.1) == [28, 29, 30]
    assert last_part({1, 2, 3}, 100, 0.1) == [3]
    assert last_part({3, 1, 2}, 3, 1.0) == [1, 2, 3]
