"""Arrays of a folder against ours, one check each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from aedo.verify.check import GRADIENT, VALUE, Check, relative
from aedo.verify.folder import Array
from aedo.verify.training import TINY


def frames_check(part: str, name: str, ours: Tensor, reference: Mapping[str, Array], mask: Tensor) -> Check:
    """[B, T, ...] on valid frames (or labels)."""
    expected = torch.as_tensor(reference[name])
    if expected.shape != ours.shape:
        note = f"ours is {list(ours.shape)}, the folder has {list(expected.shape)}"
        return Check(part, name, float("inf"), VALUE, note)
    difference, note = relative(ours[mask], expected[mask])
    return Check(part, name, difference, VALUE, note)


def value_check(
    part: str, name: str, ours: Tensor, reference: Mapping[str, Array], bound: float, scale: float = 0.0
) -> Check:
    difference, note = relative(ours, torch.as_tensor(reference[name]), scale=scale)
    return Check(part, name, difference, bound, note)


def norms_check(ours: Mapping[str, Tensor], reference: Mapping[str, Array], station: str, largest: float) -> Check:
    """One check over all norms of gradients: the worst parameter is named."""
    names = [str(name) for name in reference["grad_norms_names"]]
    theirs = dict(zip(names, reference[station].tolist()))
    if set(theirs) != set(ours):
        return Check("gradients", station, float("inf"), GRADIENT, "names of other parameters")
    floor = TINY / GRADIENT * largest
    off = {n: abs(float(g.double().norm()) - theirs[n]) / max(theirs[n], floor) for n, g in ours.items()}
    worst = max(off, key=lambda name: off[name])
    return Check("gradients", station, off[worst], GRADIENT, f"worst: {worst}")
