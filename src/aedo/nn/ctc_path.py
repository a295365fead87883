"""The best path of CTC through given labels.

B batch, T frames, U labels, S = 2 U + 1 states (blank, label 1, blank, label 2 ... blank), V labels of the vocabulary;
blank = V.
"""

from __future__ import annotations

import torch
from torch import Tensor


def best_path(
    log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """States [B, T] of the best paths, log probabilities of the states [B, T, S], and of the paths [B].

    log_probs [B, T, V + 1] (blank last), lengths [B], labels [B, U], label_lengths [B]; lengths live on the CPU.
    Dynamic programming over all states at once, frame by frame; nothing waits for the device.  Frames behind the end
    repeat the last state; the state of label u is 2 u + 1; where the labels do not fit the frames, the path is of no
    meaning and its log probability minus infinity.  Of equally good paths the one that stays longest in a state wins.
    Source: Graves et al. 2006, Viterbi instead of sums.
    """
    device, frames = log_probs.device, log_probs.shape[1]
    ids = torch.full((len(labels), 2 * labels.shape[1] + 1), log_probs.shape[-1] - 1, device=device)  # [B, S]
    ids[:, 1::2] = labels.to(device)
    scores = log_probs.float().gather(2, ids[:, None].expand(-1, frames, -1))  # [B, T, S]
    final = (2 * label_lengths).to(device, non_blocking=True)  # [B], the last blank
    path, totals = _best(scores, lengths.to(device, non_blocking=True), _skips(ids), final)
    return path, scores, totals


def _skips(ids: Tensor) -> Tensor:
    """[B, S] bool: states that may follow the last but one, the blank between two different labels being left out."""
    skips = torch.zeros_like(ids, dtype=torch.bool)
    skips[:, 3::2] = ids[:, 3::2] != ids[:, 1:-2:2]
    return skips


def _best(scores: Tensor, lengths: Tensor, skips: Tensor, final: Tensor) -> tuple[Tensor, Tensor]:
    """States [B, T] of the best paths (those behind the end repeat the last) and their log probabilities [B]."""
    batch, frames, states = scores.shape
    least = float("-inf")
    best = torch.full((batch, states), least, device=scores.device)
    best[:, :2] = scores[:, 0, :2]
    back = torch.zeros(frames, batch, states, dtype=torch.uint8, device=scores.device)
    for frame in range(1, frames):
        before = torch.nn.functional.pad(best, (2, 0), value=least)
        arrivals = torch.stack((best, before[:, 1:-1], before[:, :-2].masked_fill(~skips, least)))  # [3, B, S]
        values, steps = arrivals.max(0)
        running = (frame < lengths)[:, None]
        best = torch.where(running, values + scores[:, frame], best)
        back[frame] = torch.where(running, steps, 0)
    ends = torch.stack((final, (final - 1).clamp_min(0)))  # [2, B]: the last blank, the last label
    totals, which = best.gather(1, ends.T).max(1)
    state = ends.gather(0, which[None])[0]
    path = []
    for frame in range(frames - 1, -1, -1):
        path.append(state)
        state = state - back[frame].gather(1, state[:, None])[:, 0]
    return torch.stack(path[::-1], 1), totals
