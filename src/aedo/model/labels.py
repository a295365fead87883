"""Label sequences and their packed form.  B batch, U labels, N = sum of the lengths."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from aedo.conventions import EOS


class Labels(NamedTuple):
    ids: Tensor
    """[B, U] int64, zeros behind the end."""
    lengths: Tensor
    """[B] int64, on the CPU."""
    chunks: Tensor | None = None
    """[B, U] int64, the chunk of the features in which each label ends, for streaming models; None: nobody says."""

    def with_eos(self) -> Labels:
        """The same sequences with EOS behind each.  The padding is EOS already: one more column does it."""
        return Labels(torch.nn.functional.pad(self.ids, (0, 1), value=EOS), self.lengths + 1)

    def places(self) -> Tensor:
        """Where each label that is not EOS stands, then the last place, also in all columns behind: [B, width]."""
        device = self.ids.device
        positions = torch.arange(self.ids.shape[1], device=device).expand_as(self.ids)
        last = (self.lengths - 1).to(device)[:, None]
        order = torch.where((self.ids != EOS) & (positions < last), positions, last)
        return order.sort(1).values


class Packing(NamedTuple):
    """Where each packed label comes from: step by step, at each step the utterances still running, longest first."""

    rows: Tensor
    """[N] int64: utterance of each packed label."""
    positions: Tensor
    """[N] int64: its position in the utterance."""
    order: Tensor
    """[B] int64: utterances by decreasing length."""
    active: tuple[int, ...]
    """[U] utterances that have a label at each position."""

    def take(self, values: Tensor) -> Tensor:
        """[B, U, ...] -> [N, ...]."""
        return values[self.rows, self.positions]


def pack(lengths: Tensor, device: torch.device) -> Packing:
    """Packing of sequences of these lengths ([B], on the CPU); made on the CPU and moved without waiting."""
    order = lengths.argsort(descending=True, stable=True)
    present = torch.arange(int(lengths.max()))[:, None] < lengths[order][None, :]  # [U, B]
    positions, slots = present.nonzero(as_tuple=True)
    active = tuple(present.sum(1).tolist())
    rows = order[slots]
    rows, positions, order = (t.to(device, non_blocking=True) for t in (rows, positions, order))
    return Packing(rows, positions, order, active)
