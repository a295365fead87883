"""Modules that change over the training are all reached, wherever they stand."""

from __future__ import annotations

from torch import nn

from aedo.nn.advance import advance
from aedo.schedule import Progress


class Clock(nn.Module):
    step = -1

    def advance(self, progress: Progress) -> None:
        self.step = progress.micro_step


def test_every_module_that_changes_is_advanced_and_the_others_are_left_alone() -> None:
    inner, outer = Clock(), Clock()
    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleList([inner]), outer)
    advance(model, Progress(7, 3, 0.5, 0.1))
    assert (inner.step, outer.step) == (7, 7)
