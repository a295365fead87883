"""Linear layers that a search applies at every step.  I inputs, O outputs, V labels, E features of an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aedo.nn.precision import autocast_kind
from aedo.nn.product import packed, packs, product

_WHOLE = 128
"""Packed matrices get so many outputs or a multiple: oneDNN takes 64 at a time and shares them out in pairs, and for an
odd number of them its product of 48 rows takes half as long again."""


class _Kept(NamedTuple):
    """A matrix made ready for searches."""

    original: Tensor
    """Held, so that no other gets its id."""
    state: tuple[int, int]
    """Of the original when it was made ready."""
    rows: int
    """For which it was."""
    ready: Tensor
    """May have more rows than the original: zeros."""


class Embedded(NamedTuple):
    """Labels whose embeddings are an input of a layer."""

    labels: Tensor
    """[...] int64."""
    embedding: nn.Embedding

    def vectors(self) -> Tensor:
        """[..., E]."""
        x: Tensor = self.embedding(self.labels)
        return x


class _Table(NamedTuple):
    """A matrix [O, I] whose inputs are a label's embedding and others."""

    original: Tensor
    """Held, so that no other gets its id."""
    states: tuple[tuple[int, int], tuple[int, int]]
    """Of the matrix and of the embeddings."""
    asked: int
    """Labels before there was a table."""
    parts: tuple[Tensor, Tensor] | None
    """Every label's part of the product [V, O], and the columns of the other inputs [O, I - E]; None before it pays."""


class Products:
    """Linear layers of searches: their matrices are packed, and turned into autocast's type, once and not every step.

    torch's own memory for the latter does not work without gradients.  What a layer makes of a label's embedding is
    looked up, on CPUs, as soon as the search has asked for so many as there are labels: a table costs no more than
    what was computed by then.  A matrix that has changed since is made ready anew.  Copies of a model get an empty one.
    """

    MANY = 16
    """So many times as many rows as a matrix was packed for, or as few of them, and it is packed anew."""
    TABLE = 2**28
    """Bytes of the largest table."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, torch.dtype], _Kept] = {}
        self._tables: dict[tuple[int, torch.dtype], _Table] = {}

    def __reduce__(self) -> tuple[type[Products], tuple[()]]:
        return Products, ()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """torch's linear layer, [..., I], [O, I], [O] -> [..., O]; where no gradients are wanted, by `product`."""
        if torch.is_grad_enabled():
            return torch.nn.functional.linear(x, weight, bias)
        kind = _kind(weight)
        matrix = self._of(weight, kind, x.numel() // x.shape[-1])
        outputs, more = len(weight), len(matrix) - len(weight)
        if bias is not None:
            bias = torch.nn.functional.pad(bias.to(kind), (0, more)) if more else bias.to(kind)
        y = product(x.to(kind), matrix, bias)
        return y[..., :outputs] if more else y

    def layer(self, layer: nn.Module, *inputs: Tensor | Embedded) -> Tensor:
        """The same of a module and its inputs side by side; the module may also be quantised."""
        if type(layer) is nn.Linear:
            return self.joined(inputs, layer.weight, layer.bias)
        y: Tensor = layer(_joined(inputs))
        return y

    def joined(self, inputs: Sequence[Tensor | Embedded], weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The linear layer of inputs [..., I1], [..., I2] and so on side by side; labels are one of them at most."""
        for place, x in enumerate(inputs):
            if isinstance(x, Embedded) and not torch.is_grad_enabled():
                parts = self._parts(x, sum(map(_width, inputs[:place])), weight)
                if parts is not None:
                    of_labels, columns = parts
                    y = nn.functional.embedding(x.labels, of_labels)
                    if len(inputs) == 1:
                        return y if bias is None else y.add_(bias)
                    return y.add_(self(_joined([*inputs[:place], *inputs[place + 1 :]]), columns, bias))
        return self(_joined(inputs), weight, bias)

    def forget(self) -> None:
        """Give back all copies: for a training, which is about to change every matrix."""
        self._kept.clear()
        self._tables.clear()

    def _parts(self, x: Embedded, first: int, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        """Those of a matrix whose columns from `first` on belong to the labels; None where there is no table (yet)."""
        embeddings, kind = x.embedding.weight, _kind(weight)
        if weight.device.type != "cpu" or len(embeddings) * len(weight) * kind.itemsize > self.TABLE:
            return None
        at, states = (id(weight), kind), (_state(weight), _state(embeddings))
        table = self._tables.get(at)
        if table is None or table.states != states:
            table = _Table(weight, states, 0, None)
        if table.parts is None:
            table = table._replace(asked=table.asked + x.labels.numel())
            if table.asked >= len(embeddings):
                before, columns, behind = weight.tensor_split([first, first + embeddings.shape[1]], dim=1)
                of_labels = nn.functional.linear(embeddings, columns)
                table = table._replace(parts=(of_labels, torch.cat([before, behind], 1)))
                self._kept.pop(at, None)
            self._tables[at] = table
        return table.parts

    def _of(self, weight: Tensor, kind: torch.dtype, rows: int) -> Tensor:
        at, state = (id(weight), kind), _state(weight)
        kept = self._kept.get(at)
        if kept is not None and kept.state == state and kept.rows <= self.MANY * rows <= self.MANY**2 * kept.rows:
            return kept.ready
        if rows < 4 and weight.dtype == kind:  # a search's first step
            return weight
        matrix = weight.to(kind)
        if packs(matrix) and len(matrix) > _WHOLE:
            matrix = torch.nn.functional.pad(matrix, (0, 0, 0, -len(matrix) % _WHOLE))
        self._kept[at] = _Kept(weight, state, rows, packed(matrix, rows))
        return self._kept[at].ready


def _kind(weight: Tensor) -> torch.dtype:
    """In which a matrix is multiplied."""
    return autocast_kind(weight.device.type) or weight.dtype


def _width(x: Tensor | Embedded) -> int:
    return x.embedding.embedding_dim if isinstance(x, Embedded) else x.shape[-1]


def _joined(inputs: Sequence[Tensor | Embedded]) -> Tensor:
    vectors = [x.vectors() if isinstance(x, Embedded) else x for x in inputs]
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors, -1)


def _state(weight: Tensor) -> tuple[int, int]:
    """Differs once a matrix has changed.  Tensors of inference mode do not count their changes: nobody trains them."""
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version
