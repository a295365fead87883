"""Modules that change over the training: depth, pooling, rates of dropout.

Such a module has a method `advance(progress)`, called once before every forward pass of the training and its
evaluations; a model that is only used stays as it was built, at the end of its changes.
"""

from __future__ import annotations

from typing import Protocol, cast

from torch import nn

from aedo.schedule import Progress

END = Progress(10**12, 10**12, 1e9, 1.0)
"""Behind all changes: where schedules have their last values."""


class Advancing(Protocol):
    def advance(self, progress: Progress) -> None: ...


def advance(model: nn.Module, progress: Progress) -> None:
    """Bring every module of the model that changes over the training to this point of it."""
    for module in model.modules():
        if hasattr(type(module), "advance"):
            cast(Advancing, module).advance(progress)
