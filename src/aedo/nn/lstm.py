"""LSTM with zoneout.  N rows (of all steps together), I inputs, H units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aedo.nn.dropout import Share
from aedo.nn.init import glorot_
from aedo.nn.precision import single
from aedo.nn.rates import rate_at
from aedo.nn.recurrence import Repeated
from aedo.nn.search_layers import Embedded, Products
from aedo.schedule import Progress, Scheduled


class LstmState(NamedTuple):
    hidden: Tensor
    """[..., H]."""
    cell: Tensor
    """[..., H]."""

    def at(self, index: Any) -> LstmState:
        """The rows at `index`."""
        return LstmState(self.hidden[index], self.cell[index])


class ZoneoutLstm(nn.Module):
    """An LSTM whose units keep their old value with some probability (Krueger et al. 2017).

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

    def start(self, *rows: int) -> LstmState:
        """Zeros [*rows, H]."""
        zeros = single(self.bias.detach()).new_zeros(*rows, self.units)
        return LstmState(zeros, zeros)

    def step(
        self, inputs: Sequence[Tensor | Embedded], state: LstmState, products: Products | None = None
    ) -> tuple[Tensor, LstmState]:
        """One step: inputs side by side, [..., I] together -> (output [..., H], next state)."""
        products = products or Products()
        gates = products.joined(inputs, self.weight_input, self.bias) + products(state.hidden, self.weight_hidden)
        return self.move(gates, state)

    def forward(self, gates_input: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """gates_input [..., 4H]: the inputs already multiplied, with bias -> (output [..., H], next state)."""
        return self.move(gates_input + nn.functional.linear(state.hidden, self.weight_hidden), state)

    def move(self, gates: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """gates [..., 4H]: inputs and hidden state already multiplied, with bias -> (output [..., H], next state)."""
        candidate, enter, keep, leave = single(gates).chunk(4, dim=-1)
        cell = keep.sigmoid() * state.cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        of_hidden, of_cell = self.changes(cell)
        next_state = LstmState(blended(hidden, state.hidden, of_hidden), blended(cell, state.cell, of_cell))
        return (next_state.hidden if self.zoned_output else hidden), next_state

    def unroll(self, x: Tensor, active: tuple[int, ...]) -> Tensor:
        """All steps: inputs [N, I], step by step the first `active` rows of the step before -> outputs [N, H]."""
        hidden = Repeated(self.weight_hidden)
        gates = hidden.begin(nn.functional.linear(x, self.weight_input, self.bias))
        state, outputs = self.start(active[0]), []
        for gates_input in torch.split(gates, list(active)):
            state = state.at(slice(len(gates_input))) if len(gates_input) < len(state.hidden) else state
            output, state = self.move(gates_input + hidden(state.hidden), state)
            outputs.append(output)
        return torch.cat(outputs)

    def changes(self, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """What of the new hidden state and of the new cell enters the state at a step, as `like` [..., H] or a number.

        In training drawn anew at every call, the hidden state's first.
        """
        return self._change(like, self.zone_hidden), self._change(like, self.zone_cell)

    def _change(self, like: Tensor, rate: float) -> Tensor | float:
        if rate == 0.0 or not self.training:
            return 1.0 - rate
        shape = like.shape if self.share == "none" or self.share == "time" else (1, like.shape[-1])
        return like.new_empty(shape).bernoulli_(1.0 - rate)


def blended(new: Tensor, old: Tensor, change: Tensor | float) -> Tensor:
    """The share `change` of the new, the rest of the old."""
    if isinstance(change, float):
        return new if change == 1.0 else change * new + (1.0 - change) * old
    return old + change * (new - old)
