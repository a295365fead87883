"""Whether two systems with the same weights give the same results, before anything is timed."""

from __future__ import annotations

from typing import Any

import torch

from aedo.errors import UserError

TOLERANCE: dict[str, dict[str, float]] = {
    "float32": {"states": 1e-4, "loss": 1e-4, "gradients": 1e-3, "score": 1e-3, "equal": 1.0},
    "bfloat16": {"states": 5e-2, "loss": 2e-2, "gradients": 2e-1, "score": 5e-2, "equal": 0.0},
}
"""Largest distance, relative to the size of what is compared; `equal`: least share of equal best hypotheses."""


def compare(workers: list[Any], precision: str, parts: list[str]) -> None:
    """Print how far apart results are; UserError where that is beyond the tolerance."""
    found: dict[str, float] = {}
    if "encoder" in parts or "step" in parts:
        ours, theirs = (worker.check("encoder", precision) for worker in workers)
        valid = torch.arange(ours["states"].shape[1]) < ours["lengths"][:, None]  # what padding gives means nothing
        states = theirs["states"][valid]
        found["states"] = float((ours["states"][valid] - states).norm() / states.norm())
    if "step" in parts or "decoder" in parts:
        ours, theirs = (worker.check("training", precision) for worker in workers)
        if ours["losses"].keys() != theirs["losses"].keys():
            raise UserError(f"losses differ by name: {sorted(ours['losses'])}, {sorted(theirs['losses'])}")
        found["loss"] = max(abs(ours["losses"][key] / value - 1) for key, value in theirs["losses"].items())
        found["gradients"] = distance(ours["gradients"], theirs["gradients"])
    if any(part.startswith("search") for part in parts):
        ours, theirs = (worker.check("search", precision) for worker in workers)
        found["score"] = max(abs(a / b - 1) for a, b in zip(ours["scores"], theirs["scores"], strict=True))
        found["equal"] = sum(a == b for a, b in zip(ours["labels"], theirs["labels"], strict=True)) / len(
            ours["labels"]
        )
    print(f"{precision}: " + ", ".join(f"{name} {value:.2g}" for name, value in found.items()), flush=True)
    for name, value in found.items():
        limit = TOLERANCE[precision][name]
        if value < limit if name == "equal" else not value <= limit:
            raise UserError(f"{precision}: {name} differ by {value:.2g}, tolerated is {limit:g}: nothing is timed")


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Of all gradients together, relative to their size."""
    if ours.keys() != theirs.keys():
        raise UserError(f"gradients differ by name: {sorted(ours.keys() ^ theirs.keys())}")
    apart = sum(float((ours[name] - value).double().square().sum()) for name, value in theirs.items())
    whole = sum(float(value.double().square().sum()) for value in theirs.values())
    return float((apart / whole) ** 0.5)
