"""Optimizers that leave torch's compiler alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


def uncompiled(kind: type[Kind]) -> type[Kind]:
    """The same optimizer, with the same updates and state, none of whose methods loads the compiler.

    torch keeps the compiler from looking into optimizers, and loads it to tell it so: 1.8 s and 71 MB at the start of
    every training, on every device, though nothing is compiled.  What is taken off is that decoration alone.
    """
    update = inspect.unwrap(kind.step)

    def step(self: Kind, closure: Callable[[], float] | None = None) -> float | None:
        with torch.no_grad():
            done: float | None = update(self, closure)
        return done

    methods: dict[str, Any] = {
        name: inspect.unwrap(method)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if hasattr(method, "__wrapped__")
    }
    return type(kind.__name__, (kind,), {**methods, "step": step})
