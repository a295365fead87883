"""What happens to the gradients between backward and the optimizer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.schedule import Progress


class GradientConfig(Part):
    clip_norm: float | None = Field(None, gt=0)
    """Largest global L2 norm; None: no clipping (the norm is logged all the same)."""

    def build(self) -> GradientTransform:
        return GradientTransform(self.clip_norm)


class GradientTransform:
    """Clips the gradients by their global L2 norm, in place.  Source: Pascanu et al. 2013."""

    def __init__(self, clip_norm: float | None) -> None:
        self.clip_norm = clip_norm

    def __call__(self, parameters: Sequence[nn.Parameter], progress: Progress) -> Tensor:
        """The norm before clipping, a scalar on the parameters' device; nothing is waited for."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip_norm, norm)
        return norm
