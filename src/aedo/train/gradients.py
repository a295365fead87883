"""What happens to the gradients between backward and the optimizer."""

from __future__ import annotations

from pydantic import Field

from aedo.config import Part


class GradientConfig(Part):
    clip_norm: float | None = Field(None, gt=0)
    """Largest global L2 norm; None: no clipping (the norm is logged all the same)."""
