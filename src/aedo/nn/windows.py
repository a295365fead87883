"""Training on less than a whole utterance: chunks of it, or a window around every frame.

B batch, T frames, D features, C frames of a chunk, W chunks of all utterances that hold frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Chunks:
    """Cuts a padded batch into chunks that follow each other, and puts them together again.

    Chunks that hold only padding are left out.  No loop over utterances, nothing waits for the device.
    """

    def __init__(self, lengths: Tensor, frames: int, size: int, device: torch.device) -> None:
        """lengths: [B] on the CPU, frames: T, size: C."""
        self.utterances, self.frames, self.size = len(lengths), frames, min(size, frames)
        self.each = -(-frames // self.size)
        starts = torch.arange(self.each) * self.size
        held = (lengths[:, None] - starts).clamp(0, self.size).flatten()  # [B x chunks of each]
        rows = held.nonzero()[:, 0]
        self.lengths = held[rows]
        """[W], on the CPU."""
        self.rows = rows.to(device, non_blocking=True)

    def cut(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [W, C, D]."""
        x = nn.functional.pad(x, (0, 0, 0, self.each * self.size - self.frames))
        return x.reshape(-1, self.size, x.shape[2]).index_select(0, self.rows)

    def stitch(self, y: Tensor) -> Tensor:
        """[W, C, D] -> [B, T, D]; zeros where there was only padding."""
        batch = y.new_zeros(self.utterances * self.each, *y.shape[1:]).index_copy(0, self.rows, y)
        return batch.view(self.utterances, -1, y.shape[2])[:, : self.frames]


def within_window(mask: Tensor, window: int) -> Tensor:
    """Which keys every query may see: mask [B, T] of the valid ones -> [B, 1, T, T] (queries, keys).

    `window` keys around the query, one more to the right if their number is even; always the query's own, so that no
    row is empty, not even in padding.
    """
    at = torch.arange(mask.shape[1], device=mask.device)
    distance = at - at[:, None]
    near = (distance >= -((window - 1) // 2)) & (distance <= window // 2)
    return (mask[:, None, None, :] & near) | (distance == 0)
