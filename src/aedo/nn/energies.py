"""Energies of additive attention, and their gradients, without keeping what is inside the tanh.

B batch (or any rows), T frames, A attention features, G heads.  `inside` is key + feedback of the weights so far +
query, [B, T, A]: by far the largest tensor of a decoder.  It is computed in place, a few rows or frames at a time
where they are many, and once more for the gradients.  With s the logistic function, tanh(x) = 2 s(2 x) - 1; s is
several times faster, and the constant makes no difference to the softmax over the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aedo.nn.precision import single

_ELEMENTS = 1 << 20
"""Of `inside` at a time, on a CPU: what fits into its caches."""


@dataclass(frozen=True)
class Energies:
    """Keys and weights of one attention, in single precision; without gradients, which are made by hand."""

    keys: Tensor
    """[B, T, A], doubled."""
    feedback: Tensor | None
    """[G, A], doubled; None: energies do not know the weights so far."""
    energy: Tensor
    """[G, A]."""
    room: Tensor
    """[rows at a time, T, A], written anew at every call: taking it from the system each time costs as much as filling
    it."""

    @classmethod
    def of(cls, keys: Tensor, feedback: Tensor | None, energy: Tensor) -> Energies:
        """keys [B, T, A], and the weights as their layers have them: feedback [A, G], energy [G, A]."""
        doubled_feedback = None if feedback is None else 2.0 * single(feedback.detach().t())
        doubled = 2.0 * single(keys.detach())
        width = len(keys) if keys.is_cuda else min(len(keys), max(1, _ELEMENTS // keys[0].numel()))
        return cls(doubled, doubled_feedback, single(energy.detach()), torch.empty_like(doubled[:width]))

    def __call__(self, query: Tensor, accumulated: Tensor) -> Tensor:
        """query [n, A], accumulated [n, G, T], of the first n of the batch -> [n, G, T] up to a constant each."""
        query, parts = 2.0 * query, []
        for rows in self._parts(len(query)):
            parts.append(by_head(self._logistic(rows, query, accumulated), self.energy))
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).mul_(2.0)

    def _parts(self, count: int) -> Iterator[slice]:
        """The first `count` rows, in parts small enough."""
        width = len(self.room)
        return (slice(first, min(first + width, count)) for first in range(0, count, width))

    def _logistic(self, rows: slice, doubled_query: Tensor, accumulated: Tensor) -> Tensor:
        """s(2 inside) of some rows, [rows, T, A]."""
        inside = torch.add(self.keys[rows], doubled_query[rows, None], out=self.room[: rows.stop - rows.start])
        if self.feedback is not None:
            for head, feedback in enumerate(self.feedback):
                inside.addcmul_(accumulated[rows, head, :, None], feedback)
        return inside.sigmoid_()


def energies_of_hypotheses(
    query: Tensor, keys: Tensor, accumulated: Tensor, feedback: Tensor | None, energy: Tensor
) -> Tensor:
    """query [B, K, A], keys [B, 1 or K, T, A], accumulated [B, K, G, T], layers' feedback [A, G] and energy [G, A].

    Gives [B, K, G, T], up to a constant each; a few frames at a time, as all hypotheses share their keys.  No gradient.
    """
    query, keys, by_energy = 2.0 * query[:, :, None], single(keys), (2.0 * single(energy)).unbind()
    by_feedback = () if feedback is None else single(feedback).unbind(1)
    batch, hypotheses, _, frames = accumulated.shape
    found = query.new_empty(accumulated.shape)
    row = batch * hypotheses * keys.shape[-1]
    width = frames if keys.is_cuda else max(1, _ELEMENTS // 2 // row)
    room = query.new_empty(min(width, frames) * row)
    for first in range(0, frames, width):
        some = slice(first, min(first + width, frames))
        here = room[: (some.stop - first) * row].view(batch, hypotheses, -1, keys.shape[-1])
        inside = torch.add(query, keys[:, :, some], alpha=2.0, out=here)
        for head, weights in enumerate(by_feedback):
            inside.addcmul_(accumulated[:, :, head, some, None], weights, value=2.0)
        inside.sigmoid_()
        for head, weights in enumerate(by_energy):
            found[:, :, head, some] = inside @ weights
    return found


@dataclass(frozen=True)
class EnergyGradients:
    """Sums of gradients over the steps of a loop, in which each step's are added in place."""

    of: Energies
    keys: Tensor
    """[B, T, A]."""
    feedback: Tensor
    """[G, A]; zeros where there is no feedback."""
    energy: Tensor
    """[G, A]."""
    room: Tensor
    """As that of the energies."""

    @classmethod
    def zeros(cls, energies: Energies) -> EnergyGradients:
        zeros, room = torch.zeros_like(energies.energy), torch.empty_like(energies.room)
        return cls(energies, torch.zeros_like(energies.keys), zeros, torch.zeros_like(zeros), room)

    def add(self, gradient: Tensor, query: Tensor, accumulated: Tensor, of_accumulated: Tensor) -> Tensor:
        """One step, of the gradient of its energies [n, G, T]: gives that of its query [n, A].

        The gradient of `accumulated` is added to `of_accumulated` [n, G, T].
        """
        energies, doubled, of_query = self.of, 2.0 * query, torch.empty_like(query)
        fourfold = 4.0 * energies.energy
        for rows in energies._parts(len(query)):
            logistic, part = energies._logistic(rows, doubled, accumulated), gradient[rows]
            self.energy.add_(torch.bmm(part, logistic).sum(0), alpha=2.0).sub_(part.sum((0, 2))[:, None])
            inside = torch.mul(part[:, 0, :, None], fourfold[0], out=self.room[: len(part)])  # [rows, T, A]
            for head in range(1, len(fourfold)):
                inside.addcmul_(part[:, head, :, None], fourfold[head])
            # x (1 - tanh^2) = 4 x s (1 - s)
            torch.ops.aten.sigmoid_backward.grad_input(inside, logistic, grad_input=inside)
            self.keys[rows].add_(inside)
            if energies.feedback is None:
                of_query[rows] = inside.sum(1)
                continue
            seen = torch.nn.functional.pad(accumulated[rows], (0, 0, 0, 1), value=1.0)  # the sum over T in one go
            sums = torch.bmm(seen, inside)  # [rows, G + 1, A]
            of_query[rows] = sums[:, -1]
            self.feedback.add_(sums[:, :-1].sum(0))
            of_accumulated[rows].add_(by_head(inside, energies.feedback), alpha=0.5)
        return of_query


def by_head(x: Tensor, weight: Tensor) -> Tensor:
    """[..., T, A], [G, A] -> [..., G, T], one product with a vector a head: faster than one with a few columns."""
    return torch.stack([x @ head for head in weight], -2)
