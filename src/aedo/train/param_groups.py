"""Which parameters decay: groups for the optimizer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aedo.config import Part

ModuleKind = Literal["batch_norm", "layer_norm", "embedding", "relative_position"]


class WeightDecayConfig(Part):
    value: float = Field(1e-6, ge=0)
    exclude: tuple[ModuleKind, ...] = ()
    """Kinds of modules whose parameters do not decay.  Biases never do (the shift of a BatchNorm is no bias here)."""
