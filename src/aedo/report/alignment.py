"""Which frames belong to which label: the best path of a CTC head through a given label sequence.

T frames, U labels, V labels of the vocabulary; blank = V.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BLANK = -1
"""Stands in an alignment for frames of blank."""


class Alignment(NamedTuple):
    positions: npt.NDArray[np.int64]
    """[T]: which of the U labels each frame belongs to, or BLANK."""
    log_prob: float
    """Natural logarithm of the path's probability."""


def align_ctc(log_probs: npt.NDArray[np.floating], labels: Sequence[int]) -> Alignment:
    """The most probable CTC path that reads as `labels`; log_probs [T, V + 1], blank last.

    Viterbi over the 2 U + 1 states blank, label 1, blank, label 2 ... (Graves et al. 2006).  Raises ValueError where
    the labels need more frames than there are.
    """
    frames, blank = log_probs.shape[0], log_probs.shape[1] - 1
    ids = np.full(2 * len(labels) + 1, blank)
    ids[1::2] = labels
    needed = len(labels) + sum(a == b for a, b in pairwise(labels))
    if frames < max(needed, 1):
        raise ValueError(f"{len(labels)} labels need {needed} frames, there are {frames}")
    skips = np.zeros(len(ids), bool)  # a blank may be left out between two different labels
    skips[3::2] = ids[3::2] != ids[1:-2:2]
    scores = log_probs[:, ids].astype(np.float64)  # [T, S]
    best = np.full(len(ids), -np.inf)
    best[:2] = scores[0, :2]
    back = np.zeros((frames, len(ids)), np.int64)
    for t in range(1, frames):
        arrivals = np.full((3, len(ids)), -np.inf)
        arrivals[0], arrivals[1, 1:] = best, best[:-1]
        arrivals[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        back[t] = arrivals.argmax(0)
        best = arrivals.max(0) + scores[t]
    last = len(ids) - 1
    state = last if len(ids) == 1 or best[last] >= best[last - 1] else last - 1
    log_prob = float(best[state])
    path = np.empty(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= back[t, state]
    return Alignment(np.where(path % 2 == 1, path // 2, BLANK), log_prob)
