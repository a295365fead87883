"""What is counted during a sub-epoch.  K terms of the losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from aedo.data.batch import Batch
from aedo.losses.objective import Losses


class Tally:
    """Sums and counts of the terms of the losses, kept on the device so that adding waits for nothing.

    `finite_only` leaves out the batches whose total is not finite (training skips them, and says so).
    """

    def __init__(self, *, finite_only: bool) -> None:
        self.finite_only = finite_only
        self.names: tuple[str, ...] = ()
        self.values: Tensor | None = None
        """[2, K] float64: sums, counts."""

    def add(self, losses: Losses) -> None:
        sums = torch.stack([term.sum.double() for term in losses.terms])
        counts = torch.tensor([term.count for term in losses.terms], dtype=torch.float64)
        batch = torch.stack([sums, counts.to(sums.device, non_blocking=True)])  # [2, K]
        if self.finite_only:
            batch = torch.where(losses.total.detach().isfinite(), batch, 0.0)
        self.names = tuple(term.name for term in losses.terms)
        self.values = batch if self.values is None else self.values + batch

    def means(self, values: list[list[float]] | None = None) -> dict[str, float]:
        """Mean of each term; waits for the device, unless `values` were read already."""
        if self.values is None:
            return {}
        sums, counts = self.values.tolist() if values is None else values
        return {name: s / c if c else float("nan") for name, s, c in zip(self.names, sums, counts)}

    @classmethod
    def merged(cls, states: Sequence[dict[str, Any]]) -> Tally:
        """One tally of what several counted, given their states."""
        whole, names = cls(finite_only=False), list(dict.fromkeys(name for state in states for name in state["names"]))
        if names:
            whole.names, whole.values = tuple(names), torch.zeros(2, len(names), dtype=torch.float64)
            for state in states:
                for column, name in enumerate(state["names"]):
                    whole.values[:, names.index(name)] += state["values"][:, column]
        return whole

    def state(self) -> dict[str, Any]:
        return {"names": list(self.names), "values": None if self.values is None else self.values.cpu()}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        self.names = tuple(state["names"])
        self.values = None if state["values"] is None else state["values"].to(device)


@dataclass
class Counters:
    """Plain numbers of a sub-epoch, known on the CPU."""

    seconds: float = 0.0
    """Training time, evaluation and checkpoints left out."""
    wait: float = 0.0
    """Seconds of it spent waiting for data."""
    samples: int = 0
    padded_samples: int = 0
    updates: int = 0
    learning_rate: float = 0.0
    """Of the last update."""
    grad_norm: float = 0.0
    """Sum over the updates, before clipping."""
    clipped: float = 0
    """Updates whose gradients were clipped."""
    skipped_steps: int = 0
    """Micro-steps lost to non-finite losses or gradients."""
    bad_utterances: int = 0

    def add_batch(self, batch: Batch) -> None:
        self.samples += int(batch.audio_lengths.sum())
        self.padded_samples += batch.audio.shape[0] * batch.audio.shape[1]

    @property
    def padding(self) -> float:
        """Share of the samples that is padding."""
        return 1.0 - self.samples / self.padded_samples if self.padded_samples else 0.0

    @classmethod
    def merged(cls, states: Sequence[dict[str, Any]]) -> Counters:
        """Of all ranks, given their states: audio and utterances are summed, what describes the updates is averaged."""
        sums = {name: sum(state[name] for state in states) for name in ("samples", "padded_samples", "bad_utterances")}
        means = {name: sum(state[name] for state in states) / len(states) for name in ("wait", "grad_norm", "clipped")}
        return cls(**{**states[0], **sums, **means})

    def state(self) -> dict[str, Any]:
        return asdict(self)

    def load_state(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
