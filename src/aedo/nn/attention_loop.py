"""The recurrence of an LSTM decoder over given labels, LSTM and attention, with its gradients made by hand.

B batch, T frames, U labels, N packed labels, I inputs of each label, H LSTM units, D encoder features, G heads,
A attention features.  Packed: step by step, at each step the sequences still running, the longest first.

What autograd would do at every step is done once for all steps where the steps do not hang on one another: products
for the gradients of matrices, of encoder states.  The energies are not kept: see aedo.nn.energies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aedo.nn.energies import Energies, EnergyGradients
from aedo.nn.lstm import blended
from aedo.nn.precision import autocast_kind, single
from aedo.nn.product import packed, product


@dataclass(frozen=True)
class Steps:
    """What the recurrence needs besides tensors."""

    active: tuple[int, ...]
    """[U] sequences at each step, never more than at the one before."""
    changes: Callable[[Tensor], tuple[Tensor | float, Tensor | float]]
    """Zoneout: `ZoneoutLstm.changes`, asked once a step."""
    zoned_output: bool

    def places(self) -> Iterator[slice]:
        """Of each step's rows among the packed."""
        first = 0
        for count in self.active:
            yield slice(first, first + count)
            first += count


class Matrices(NamedTuple):
    """Of LSTM and attention, as their modules have them."""

    input: Tensor
    """[4H, I + G D], for the label's inputs and the last context."""
    hidden: Tensor
    """[4H, H]."""
    bias: Tensor
    """[4H]."""
    query: Tensor
    """[A, H]."""
    energy: Tensor
    """[G, A]."""
    feedback: Tensor | None
    """[A, G]."""


class Frames(NamedTuple):
    """Of the encoder, in the order of the packing."""

    states: Tensor
    """[B, T, D]."""
    keys: Tensor
    """[B, T, A]."""
    fertility: Tensor
    """[B, G, T]."""
    mask: Tensor
    """[B, T] bool."""


def attention_loop(entering: Tensor, matrices: Matrices, frames: Frames, steps: Steps) -> tuple[Tensor, Tensor, Tensor]:
    """entering [N, I] -> outputs [N, H], contexts [N, G D], attention weights [N, G, T] (without gradients).

    In single precision, under autocast with the matrix products in its type; where everything is double, in double.
    """
    device = entering.device.type
    kind = autocast_kind(device) or matrices.hidden.dtype
    with torch.autocast(device, enabled=False):
        found: tuple[Tensor, Tensor, Tensor] = _Loop.apply(steps, kind, entering, *matrices, *frames)  # type: ignore[no-untyped-call]
    return found


class _Kept(NamedTuple):
    """Values of all steps, for the gradients; packed."""

    gates: Tensor
    """[N, 4H] behind their activations."""
    before: Tensor
    """[N, H + G D] hidden state and context that entered the step, in the type of the products."""
    cells: Tensor
    """[N, H] that entered the step."""
    squashed: Tensor
    """[N, H] tanh of the new cells."""
    outputs: Tensor
    """[N, H]."""
    queries: Tensor
    """[N, A]."""
    weights: Tensor
    """[N, G, T]."""
    accumulated: Tensor
    """[N, G, T] that entered the step."""


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: Steps, kind: torch.dtype, entering: Tensor, *tensors: Any) -> tuple[Tensor, ...]:
        matrices, frames = Matrices(*tensors[:6]), Frames(*tensors[6:])
        kept, contexts, changes = _run(steps, kind, entering, matrices, frames)
        ctx.steps, ctx.kind, ctx.changes = steps, kind, changes
        ctx.save_for_backward(*kept, entering, *tensors)
        ctx.mark_non_differentiable(kept.weights)
        return kept.outputs, contexts, kept.weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_outputs: Tensor, of_contexts: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        values = ctx.saved_tensors
        kept, (entering, *tensors) = _Kept(*values[:8]), values[8:]
        matrices, frames = Matrices(*tensors[:6]), Frames(*tensors[6:])
        with torch.autocast(entering.device.type, enabled=False):
            recurrent = _recurrent(matrices, entering.shape[1], ctx.kind)  # it is large, and quickly made once more
            backward = _Backward(ctx.steps, recurrent, kept, matrices, frames)
            places = zip(range(len(ctx.changes)), ctx.steps.places(), ctx.changes, strict=True)
            for number, at, changes in reversed(list(places)):
                backward.step(number, at, changes, of_outputs, of_contexts)
            return None, None, *_gradients(backward, entering, matrices, frames)


def _recurrent(matrices: Matrices, inputs: int, kind: torch.dtype) -> Tensor:
    """For what comes from the step before, hidden state and context: [4H, H + G D]."""
    return torch.cat([matrices.hidden.to(kind), matrices.input[:, inputs:].to(kind)], 1)


def _run(
    steps: Steps, kind: torch.dtype, entering: Tensor, matrices: Matrices, frames: Frames
) -> tuple[_Kept, Tensor, list[tuple[Tensor | float, Tensor | float]]]:
    """Values of all steps, contexts [N, G D], and the zoneout of every step."""
    inputs, units = entering.shape[1], matrices.hidden.shape[1]
    batch = len(frames.mask)
    recurrent = packed(_recurrent(matrices, inputs, kind), batch)
    query = packed(matrices.query.to(kind), batch)
    energies = Energies.of(frames.keys, matrices.feedback, matrices.energy)
    states, padding = single(frames.states), ~frames.mask[:, None]
    _, heads, length = frames.fertility.shape
    gates = single(
        torch.nn.functional.linear(entering.to(kind), matrices.input[:, :inputs].to(kind), matrices.bias.to(kind))
    )
    count = len(gates)
    new = gates.new_empty
    kept = _Kept(
        gates,
        entering.new_empty(count, recurrent.shape[1], dtype=kind),
        new(count, units),
        new(count, units),
        new(count, units),
        new(count, len(query)),
        new(count, heads, length),
        new(count, heads, length),
    )
    contexts, changes = new(count, heads * states.shape[-1]), []
    hidden = cell = gates.new_zeros(batch, units)
    context = gates.new_zeros(batch, contexts.shape[1])
    accumulated = gates.new_zeros(batch, heads, length)
    for rows, at in zip(steps.active, steps.places(), strict=True):
        before, here = kept.before[at], gates[at]
        torch.cat([hidden[:rows].to(kind), context[:rows].to(kind)], 1, out=before)
        here += product(before, recurrent)
        candidate, enter, keep, leave = here.chunk(4, 1)
        candidate.tanh_()
        here[:, units:].sigmoid_()
        kept.cells[at] = old_cell = cell[:rows]
        new_cell = (keep * old_cell).addcmul_(enter, candidate)
        squashed = torch.tanh(new_cell, out=kept.squashed[at])
        new_hidden = leave * squashed
        change = steps.changes(new_cell)
        hidden, cell = blended(new_hidden, hidden[:rows], change[0]), blended(new_cell, old_cell, change[1])
        kept.outputs[at] = output = hidden if steps.zoned_output else new_hidden
        kept.accumulated[at] = accumulated = accumulated[:rows]
        kept.queries[at] = asked = single(product(output.to(kind), query))
        values = energies(asked, accumulated)
        weights = torch.softmax(values.masked_fill_(padding[:rows], float("-inf")), -1, out=kept.weights[at])
        accumulated = torch.addcmul(accumulated, weights, frames.fertility[:rows])
        context = torch.bmm(weights, states[:rows]).flatten(1)
        contexts[at] = context
        changes.append(change)
    return kept, contexts, changes


def _gradients(done: _Backward, entering: Tensor, matrices: Matrices, frames: Frames) -> tuple[Tensor | None, ...]:
    """Of entering, of the matrices and of the frames, in that order, when all steps are done."""
    kept, kind, summed = done.kept, done.kind, done.energies
    inputs, units = entering.shape[1], matrices.hidden.shape[1]
    gates = done.of_gates.to(kind)  # [N, 4H]
    by_gate = gates.t()
    found = (
        gates @ matrices.input[:, :inputs].to(kind),
        by_gate @ torch.cat([entering.to(kind), kept.before[:, units:]], 1),
        by_gate @ kept.before[:, :units],
        done.of_gates.sum(0),
        done.of_queries.to(kind).t() @ kept.outputs.to(kind),
        summed.energy,
        None if matrices.feedback is None else summed.feedback.t(),
        torch.bmm(done.weights.flatten(1, 2).transpose(1, 2), done.of_contexts.flatten(1, 2)),
        summed.keys,
        done.of_fertility,
    )
    originals = (entering, *matrices, *frames[:3])
    cast = (None if g is None or x is None else g.to(x.dtype) for g, x in zip(found, originals, strict=True))
    return *cast, None


class _Backward:
    """The steps backwards, the last first; of the sequences that ended before a step, nothing comes into it."""

    def __init__(self, steps: Steps, recurrent: Tensor, kept: _Kept, matrices: Matrices, frames: Frames) -> None:
        self.active, self.zoned_output, self.kept, self.kind = steps.active, steps.zoned_output, kept, recurrent.dtype
        batch, heads, length = frames.fertility.shape
        # Packing the other way round would cost as much as it brings.
        self.recurrent, self.query = recurrent.t(), matrices.query.to(recurrent.dtype).t()
        self.energies = EnergyGradients.zeros(Energies.of(frames.keys, matrices.feedback, matrices.energy))
        self.states, self.fertility = single(frames.states).transpose(1, 2), frames.fertility
        zeros, units, dim = kept.gates.new_zeros, matrices.hidden.shape[1], frames.states.shape[-1]
        self.units, self.heads = units, heads
        # What comes from the step behind.
        self.of_hidden, self.of_cell = zeros(batch, units), zeros(batch, units)
        self.of_context, self.of_accumulated = zeros(batch, heads * dim), zeros(batch, heads, length)
        # For the products over all steps.
        self.of_gates, self.of_queries = torch.empty_like(kept.gates), zeros(len(kept.gates), matrices.query.shape[0])
        self.of_contexts = zeros(batch, len(self.active), heads, dim)
        self.weights = zeros(batch, len(self.active), heads, length)
        self.of_fertility = zeros(batch, heads, length)

    def step(
        self,
        number: int,
        at: slice,
        changes: tuple[Tensor | float, Tensor | float],
        of_outputs: Tensor,
        of_contexts: Tensor,
    ) -> None:
        """One step; `at`: its rows among the packed."""
        of_query = self._attention(number, at, of_contexts[at])
        self.of_queries[at] = of_query
        self._lstm(at, changes, of_outputs[at] + single(product(of_query.to(self.kind), self.query)))

    def _attention(self, number: int, at: slice, of_context: Tensor) -> Tensor:
        """of_context [n, G D], from behind the loop -> gradient of the query [n, A]."""
        rows = self.active[number]
        of_context = (of_context + self.of_context[:rows]).view(rows, self.heads, -1)
        weights, of_accumulated = self.kept.weights[at], self.of_accumulated[:rows]
        self.of_contexts[:rows, number], self.weights[:rows, number] = of_context, weights
        of_weights = torch.bmm(of_context, self.states[:rows]).addcmul_(of_accumulated, self.fertility[:rows])
        self.of_fertility[:rows].addcmul_(of_accumulated, weights)
        of_weights *= weights
        of_values = of_weights.addcmul_(weights, of_weights.sum(-1, keepdim=True), value=-1.0)
        return self.energies.add(of_values, self.kept.queries[at], self.kept.accumulated[at], of_accumulated)

    def _lstm(self, at: slice, changes: tuple[Tensor | float, Tensor | float], of_output: Tensor) -> None:
        """of_output [n, H]: gradient of what is read out and asked with."""
        rows, kept = len(of_output), self.kept
        candidate, enter, keep, leave = kept.gates[at].chunk(4, 1)
        old_cell, squashed = kept.cells[at], kept.squashed[at]
        of_hidden, of_cell = self.of_hidden[:rows], self.of_cell[:rows]
        if self.zoned_output:
            of_hidden += of_output
        of_new = of_hidden * changes[0]
        of_hidden -= of_new
        if not self.zoned_output:
            of_new += of_output
        of_new_cell = of_cell * changes[1]
        of_cell -= of_new_cell
        of_new_cell += of_new * leave * (1.0 - squashed * squashed)
        of_cell.addcmul_(of_new_cell, keep)
        gates = self.of_gates[at]
        torch.cat(
            [of_new_cell * enter, of_new_cell * candidate, of_new_cell * old_cell, of_new * squashed], 1, out=gates
        )
        gates[:, : self.units] *= 1.0 - candidate * candidate
        others = kept.gates[at][:, self.units :]
        gates[:, self.units :] *= others * (1.0 - others)
        behind = product(gates.to(self.kind), self.recurrent)
        of_hidden += behind[:, : self.units]
        self.of_context[:rows] = behind[:, self.units :]
