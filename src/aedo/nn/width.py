"""Layers of which the training uses only the first units at its start."""

from __future__ import annotations

from torch import Tensor, nn

from aedo.nn.advance import END
from aedo.schedule import Progress, Scheduled, value_at


class Width(nn.Module):
    """Lets the first share of the units [..., D] through and gives zero for the others, which so learn nothing.

    `group`: units that come into use together, as those of an attention head.
    """

    def __init__(self, share: Scheduled, group: int = 1) -> None:
        super().__init__()
        self.schedule, self.group = share, group
        self.share = value_at(share, END)

    def advance(self, progress: Progress) -> None:
        """Take the share of this point of the training."""
        self.share = value_at(self.schedule, progress)

    def forward(self, x: Tensor) -> Tensor:  # [..., D] -> [..., D]
        if self.share == 1.0:
            return x
        units = x.shape[-1]
        used = max(1, round(self.share * units / self.group)) * self.group
        return nn.functional.pad(x[..., :used], (0, units - used))
