"""LSTM cell with zoneout.  N rows, I inputs, H units."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from aedo.nn.dropout import Share
from aedo.nn.init import glorot_
from aedo.nn.rates import rate_at
from aedo.schedule import Progress, Scheduled


class LstmState(NamedTuple):
    hidden: Tensor
    """[N, H]."""
    cell: Tensor
    """[N, H]."""


class ZoneoutLstm(nn.Module):
    """One step of an LSTM whose units keep their old value with some probability (Krueger et al. 2017).

    Gates are ordered candidate, input, forget, output; biases start at zero.  In evaluation the state is the expected
    blend.  `zoned_output`: whether the output is the zoned hidden state (the paper) or the raw one (the reference).
    """

    def __init__(
        self, inputs: int, units: int, *, zone_cell: Scheduled, zone_hidden: Scheduled, zoned_output: bool, share: Share
    ) -> None:
        super().__init__()
        self.schedules = zone_cell, zone_hidden
        self.units, self.zone_cell, self.zone_hidden = units, rate_at(zone_cell), rate_at(zone_hidden)
        self.zoned_output, self.share = zoned_output, share
        self.weight_input = nn.Parameter(glorot_(torch.empty(4 * units, inputs), inputs, 4 * units))
        self.weight_hidden = nn.Parameter(glorot_(torch.empty(4 * units, units), units, 4 * units))
        self.bias = nn.Parameter(torch.zeros(4 * units))

    def advance(self, progress: Progress) -> None:
        """Take the probabilities of this point of the training."""
        self.zone_cell, self.zone_hidden = (rate_at(schedule, progress) for schedule in self.schedules)

    def forward(self, gates_input: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """gates_input [N, 4H]: the inputs already multiplied, with bias -> (output [N, H], next state)."""
        gates = gates_input + nn.functional.linear(state.hidden, self.weight_hidden)
        candidate, enter, keep, leave = gates.float().chunk(4, dim=-1)
        cell = keep.sigmoid() * state.cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        next_state = LstmState(
            self._zone(hidden, state.hidden, self.zone_hidden), self._zone(cell, state.cell, self.zone_cell)
        )
        return (next_state.hidden if self.zoned_output else hidden), next_state

    def _zone(self, new: Tensor, old: Tensor, rate: float) -> Tensor:
        if rate == 0.0:
            return new
        if not self.training:
            return (1.0 - rate) * new + rate * old
        shape = new.shape if self.share == "none" or self.share == "time" else (1, new.shape[-1])
        changes = new.new_empty(shape).bernoulli_(1.0 - rate)
        return old + changes * (new - old)
