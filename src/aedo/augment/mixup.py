"""Mixup: speech of earlier batches, quieter, added to the features.

B batch, T frames, F mel bands, S slices mixed into an utterance, N frames in the buffer.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from aedo.config import Part
from aedo.features.logmel import Features
from aedo.schedule import Progress

_BYTES = 4  # float32


class MixupConfig(Part):
    buffer_frames: int = Field(1_000_000, ge=1)
    """Frames of earlier batches to draw from (about 2.8 hours)."""
    apply_prob: float = Field(1.0, gt=0, le=1)
    """Share of the batches that are mixed; all of them go into the buffer."""
    max_num_mix: int = Field(4, ge=1)
    """Most slices added to one utterance."""
    lambda_min: float = Field(0.1, ge=0)
    """Smallest weight of a slice, before it is shared among the slices of an utterance."""
    lambda_max: float = Field(0.4, gt=0)

    @model_validator(mode="after")
    def _check(self) -> MixupConfig:
        if self.lambda_min > self.lambda_max:
            raise ValueError(f"lambda_min {self.lambda_min:g} is greater than lambda_max {self.lambda_max:g}")
        return self

    def build(self) -> Mixup:
        return Mixup(self)

    def state_bytes(self, bands: int) -> int:
        """Room that the full buffer takes in a checkpoint's state."""
        return self.buffer_frames * bands * _BYTES


class Mixup:
    """Adds to each utterance 1 to S random slices of a ring buffer; afterwards the clean batch goes into the buffer.

    Per utterance the number of slices is uniform on 1 .. max_num_mix; each has a draw s ~ U(0.001, 1), a lambda ~
    U(lambda_min, lambda_max), and the weight s lambda / (sum of s).  A slice is as long as the padded batch and starts
    anywhere in the buffer, across the borders of utterances.  The utterance itself is not made quieter.  A batch longer
    than what the buffer holds so far passes unchanged.
    Source: mixup for AED models in RETURNN's recipes, after Zhang et al. 2018.
    """

    def __init__(self, config: MixupConfig) -> None:
        self.config = config
        self.position = 0
        """Where the next frame is written."""
        self.wrapped = False
        """Whether every place of the buffer has been written to."""
        self._buffer: Tensor | None = None

    @property
    def frames(self) -> int:
        """How many frames of the buffer may be drawn from."""
        return self.config.buffer_frames if self.wrapped else self.position

    def __call__(self, features: Features, progress: Progress) -> Features:
        """[B, T, F] -> [B, T, F]; nothing here waits for the device."""
        values = features.values
        buffer = self._on(values)
        mixed = features
        if self._applied() and 0 < values.shape[1] <= self.frames:
            mixed = Features(values + self._slices(buffer, values), features.lengths)
        self._append(buffer, features)
        return mixed

    def _applied(self) -> bool:
        return self.config.apply_prob == 1.0 or bool(torch.rand(()) < self.config.apply_prob)  # on the CPU

    def _slices(self, buffer: Tensor, values: Tensor) -> Tensor:
        """The weighted sum of slices for each utterance -> [B, T, F]."""
        config, device = self.config, values.device
        size = (values.shape[0], config.max_num_mix)
        count = torch.randint(1, config.max_num_mix + 1, (size[0], 1), device=device)
        used = torch.arange(config.max_num_mix, device=device) < count  # [B, S]
        shares = torch.empty(size, device=device).uniform_(0.001, 1.0) * used
        lambdas = torch.empty(size, device=device).uniform_(config.lambda_min, config.lambda_max)
        weights = shares * lambdas / shares.sum(1, keepdim=True)
        starts = torch.randint(0, self.frames - values.shape[1] + 1, size, device=device)
        inside = torch.arange(values.shape[1], device=device)
        mix = torch.zeros_like(values)
        for number in range(config.max_num_mix):  # one at a time, or S copies of the batch lie in memory at once
            frames = starts[:, number, None] + inside  # [B, T]
            mix.addcmul_(weights[:, number, None, None], buffer[frames])
        return mix

    def _append(self, buffer: Tensor, features: Features) -> None:
        """Write the valid frames, utterance behind utterance, from the position on; at the end go on at the start.

        What is more than the buffer holds is dropped, from the end, as in the reference.
        """
        values, lengths = features
        size, device = self.config.buffer_frames, values.device
        total = int(lengths.sum())
        at_end = min(total, size - self.position)
        at_start = min(total - at_end, size)
        within = torch.arange(values.shape[1], device=device)
        before = (lengths.cumsum(0) - lengths).to(device, non_blocking=True)[:, None]
        number = before + within  # [B, T], among the valid frames of the batch
        place = torch.where(number < at_end, number + self.position, number - at_end)
        overwritten = (number < at_end) & (place < at_start)  # only by a batch longer than the buffer
        dropped = number >= at_end + at_start
        padding = within >= lengths.to(device, non_blocking=True)[:, None]
        place = place.masked_fill(padding | overwritten | dropped, size)  # the row behind the buffer takes the rest
        clean = values.detach().nan_to_num(0.0, 0.0, 0.0)  # a broken batch must not come back for hours
        buffer.index_copy_(0, place.flatten(), clean.flatten(0, 1))
        self.wrapped = self.wrapped or total > at_end
        self.position = at_start if total > at_end else self.position + total

    def _on(self, values: Tensor) -> Tensor:
        """The buffer [N + 1, F] on the device of the features; its last row is waste."""
        if self._buffer is None:
            self._buffer = values.new_zeros(self.config.buffer_frames + 1, values.shape[2])
        elif self._buffer.device != values.device:  # it was read from a checkpoint
            self._buffer = self._buffer.to(values.device)
        return self._buffer

    def state(self) -> dict[str, Any]:
        written = None if self._buffer is None else self._buffer[: self.frames].to("cpu", copy=True)
        return {"position": self.position, "wrapped": self.wrapped, "buffer": written}

    def load_state(self, state: dict[str, Any]) -> None:
        self.position, self.wrapped = state["position"], state["wrapped"]
        written: Tensor | None = state["buffer"]
        self._buffer = None
        if written is not None:
            self._buffer = written.new_zeros(self.config.buffer_frames + 1, written.shape[1])
            self._buffer[: len(written)] = written
