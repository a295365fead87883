"""Forced alignment: which frames of a CTC head belong to which label of a given sequence.

B batch, T frames, U labels, S = 2 U + 1 states (blank, label 1, blank, label 2 ... blank), V labels of the vocabulary;
blank = V.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aedo.nn.ctc_path import best_path
from aedo.nn.masks import length_mask

BLANK = -1
"""Stands in an alignment for frames of blank and for those behind the end."""


@dataclass(frozen=True)
class Alignment:
    """The most probable path of each utterance through its labels; all tensors are on the CPU."""

    positions: Tensor
    """[B, T] int64: which of the U labels each frame belongs to, or BLANK."""
    starts: Tensor
    """[B, U] int64: first frame of each label; 0 behind the last label and where the labels do not fit."""
    stops: Tensor
    """[B, U] int64: one past its last frame; 0 as above."""
    peaks: Tensor
    """[B, U] float32: log probability of each label in its best frame; minus infinity as above."""
    log_probs: Tensor
    """[B] float32: of the path; minus infinity where the labels do not fit the frames."""

    @property
    def fits(self) -> Tensor:
        """[B] bool."""
        return self.log_probs > float("-inf")


def frames_needed(labels: Tensor, label_lengths: Tensor) -> Tensor:
    """[B] frames that CTC needs for labels [B, U]: one a label, and one for the blank between two equal ones."""
    inside = torch.arange(1, max(labels.shape[1], 1)) < label_lengths[:, None]
    repeated = (labels[:, 1:] == labels[:, :-1]).cpu() & inside
    return label_lengths + repeated.sum(1)


@torch.inference_mode()
def align(log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Alignment:
    """The best CTC path that reads as `labels`, by dynamic programming over all states at once, frame by frame.

    log_probs [B, T, V + 1] (blank last), lengths [B], labels [B, U], label_lengths [B]; lengths live on the CPU.
    Of equally good paths the one that stays longest in a state wins.  Source: Graves et al. 2006, Viterbi instead of
    sums.
    """
    device, frames = log_probs.device, log_probs.shape[1]
    path, scores, totals = best_path(log_probs, lengths, labels, label_lengths)
    fits = (totals > float("-inf")) & (lengths > 0).to(device)
    valid = length_mask(lengths, frames, device) & fits[:, None] & (path % 2 == 1)
    positions = torch.where(valid, path.div(2, rounding_mode="floor"), BLANK)
    on_path = scores.gather(2, path[..., None])[..., 0]
    starts, stops, peaks = _spans(positions, on_path, labels.shape[1])
    totals = totals.masked_fill(~fits, float("-inf"))
    return Alignment(positions.cpu(), starts.cpu(), stops.cpu(), peaks.cpu(), totals.cpu())


def _spans(positions: Tensor, on_path: Tensor, labels: int) -> tuple[Tensor, Tensor, Tensor]:
    """First frame, end and best log probability of every label, all [B, U]."""
    batch, frames = positions.shape
    slots = torch.where(positions == BLANK, labels, positions)  # blank frames share a slot behind the labels
    here = torch.arange(frames, device=positions.device).expand(batch, -1)
    shape = (batch, labels + 1)
    starts = positions.new_full(shape, frames).scatter_reduce(1, slots, here, "amin")
    stops = positions.new_zeros(shape).scatter_reduce(1, slots, here + 1, "amax")
    peaks = on_path.new_full(shape, float("-inf")).scatter_reduce(1, slots, on_path, "amax")
    starts = starts.masked_fill(stops == 0, 0)
    return starts[:, :-1], stops[:, :-1], peaks[:, :-1]
