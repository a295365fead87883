"""What a verification says: one line a station, with the largest relative difference and the bound it must keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

VALUE = 2e-5
"""Bound for values: two float32 computations of the same sums in another order."""
GRADIENT = 1e-4
"""Bound for gradients and their norms."""


@dataclass(frozen=True)
class Check:
    """One station compared."""

    part: str
    """Where on the way of an utterance: features, front-end, encoder, ..."""
    station: str
    """Name of the array or entry in the folder."""
    difference: float
    """Largest relative difference; NaN and infinity fail."""
    bound: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.difference <= self.bound  # false for NaN


def relative(
    ours: Tensor, expected: Tensor, *, scale: float = 0.0, allowance: Tensor | None = None
) -> tuple[float, str]:
    """Largest difference over the largest magnitude of `expected` (or `scale`, if larger), and a note on what is wrong.

    `allowance`, of the same shape, is taken off every difference first.  Axes of length one are ignored.
    Infinity where the shapes differ or only one side is finite somewhere.
    """
    ours, expected = ours.detach().double().squeeze(), expected.detach().double().squeeze()
    if ours.shape != expected.shape:
        return math.inf, f"ours is {list(ours.shape)}, the folder has {list(expected.shape)}"
    if not ours.numel():
        return math.nan, "nothing to compare"
    same = (ours == expected) | (ours.isnan() & expected.isnan())  # infinities of the same sign are equal too
    finite = ours.isfinite() & expected.isfinite()
    if bool((~finite & ~same).any()):
        return math.inf, "not finite on one side"
    differences = torch.where(same, 0.0, (ours - expected).abs())
    if allowance is not None:
        differences = (differences - allowance.double().squeeze()).clamp_min(0.0)
    largest = max(float(torch.where(finite, expected.abs(), 0.0).max()), scale)
    return float(differences.max()) / (largest or 1.0), ""
