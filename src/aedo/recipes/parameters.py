"""A table of what every parameter of an experiment's model gets: its shape, its size, its weight decay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from aedo.config import Part
from aedo.experiment import Experiment
from aedo.recipes.trees import show
from aedo.train.param_groups import Decay, decays

CHARACTERS = 30
"""Labels assumed where they are the characters of data that are not at hand."""


@dataclass(frozen=True)
class Row:
    """Parameters that differ in the number of their layer only."""

    name: str
    shape: tuple[int, ...]
    """Of one of them."""
    tensors: int
    decay: Decay

    @property
    def count(self) -> int:
        """Numbers in all of them."""
        return self.tensors * torch.Size(self.shape).numel()

    @property
    def cells(self) -> tuple[str, ...]:
        shape = " x ".join(map(str, self.shape)) or "1"
        return (self.name, shape, str(self.tensors), f"{self.count:,}", *_words(self.decay))


def parameter_table(name: str, e: Experiment) -> str:
    """The table and its sums.  The model is built without memory for its numbers."""
    vocabulary = CHARACTERS if e.tokenizer.kind == "char" else e.tokenizer.size
    with torch.device("meta"):
        model = e.build_model(vocabulary)
    found = rows(model, decays(model, e.train.optimizer.weight_decay))
    labels = f"{vocabulary:,} labels" + (" (assumed: they come from the data)" if e.tokenizer.kind == "char" else "")
    heads = ("parameter", "shape", "tensors", "numbers", "weight decay", "because of")
    parts = [
        f"{name}: {sum(row.count for row in found):,} parameters for {labels}; optimizer {e.train.optimizer.kind}",
        "\n".join(_aligned([heads, *(row.cells for row in found)], right=(2, 3))),
        "\n".join(_aligned([("weight decay", "because of", "tensors", "numbers", "share"), *_sums(found)], (2, 3, 4))),
    ]
    return "\n\n".join(parts)


def rows(model: nn.Module, by_name: dict[str, Decay]) -> list[Row]:
    """In the model's order.  The same parameter of several layers is one row where shape and weight decay agree."""
    groups: dict[tuple[str, tuple[int, ...], Decay], list[str]] = {}
    for name, parameter in model.named_parameters():
        anywhere = re.sub(r"\.\d+\.", ".*.", name, count=1)
        groups.setdefault((anywhere, tuple(parameter.shape), by_name[name]), []).append(name)
    return [
        Row(_folded(anywhere, names), shape, len(names), decay) for (anywhere, shape, decay), names in groups.items()
    ]


def _folded(anywhere: str, names: Sequence[str]) -> str:
    """encoder.layers.0-3,5.ff1.hidden.weight."""
    if len(names) == 1:
        return names[0]
    numbers = [int(re.findall(r"\.(\d+)\.", name)[0]) for name in names]
    starts = [numbers[0], *(b for a, b in pairwise(numbers) if b != a + 1)]
    ends = [*(a for a, b in pairwise(numbers) if b != a + 1), numbers[-1]]
    ranges = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends))
    return anywhere.replace("*", ranges, 1)


def _words(decay: Decay) -> tuple[str, str]:
    value = decay.value.model_dump() if isinstance(decay.value, Part) else decay.value
    return ("none" if decay.spared else show(value), decay.why)


def _sums(found: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    """By weight decay and reason, those that decay first."""
    by_decay: dict[Decay, list[Row]] = {}
    for row in sorted(found, key=lambda row: row.decay.spared):
        by_decay.setdefault(row.decay, []).append(row)
    total = sum(row.count for same in by_decay.values() for row in same)
    for decay, same in by_decay.items():
        count = sum(row.count for row in same)
        tensors = sum(row.tensors for row in same)
        yield (*_words(decay), str(tensors), f"{count:,}", f"{100 * count / total:.2f} %")


def _aligned(table: Sequence[tuple[str, ...]], right: Iterable[int] = ()) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table)]
    flush = set(right)
    for cells in table:
        line = (
            cell.rjust(width) if index in flush else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths))
        )
        yield f"  {'  '.join(line)}".rstrip()
