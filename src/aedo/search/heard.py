"""Where in a piece of sound the CTC head hears something: noise around speech is left out, long silences are cut.

Loudness alone takes noise for speech where it is as loud, and joins what was said before and after it.  A model that
knows nothing but single utterances makes mistakes in both.  B batch, T encoder frames.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Times = npt.NDArray[np.float64]

_BLANK = 0.9
"""Probability of blank from which on nothing is heard in a frame."""
_ROOM = 0.5
"""Seconds left before and behind what is heard: CTC marks labels a little late, and only where it is surest."""
_SILENCE = 1.6
"""Seconds between two labels in which there is a cut; people pause for less in the middle of what they say."""
_EXCESS = 0.3
"""Seconds more than that which may be left: a piece that is nearly right is not computed again."""


class Part(NamedTuple):
    start: float
    """Seconds from the beginning of the piece."""
    end: float
    """Infinite where nothing is left out at the end."""


def heard_parts(log_probs: Tensor, lengths: Tensor, seconds_per_frame: float) -> list[list[Part]]:
    """The parts of every piece in which something may be said, in order and without overlap; none where all is blank.

    log_probs [B, T, V + 1] (blank last) of a CTC head, lengths [B] on the CPU.
    """
    blank = log_probs[..., -1].exp().cpu()
    found = []
    for row, length in enumerate(lengths.tolist()):
        frames = torch.nonzero(blank[row, :length] < _BLANK)[:, 0].numpy()
        found.append(_parts(frames * seconds_per_frame, seconds_per_frame, length * seconds_per_frame))
    return found


def _parts(times: Times, frame: float, seconds: float) -> list[Part]:
    """times: starts of the frames in which something is heard."""
    if not len(times):
        return []
    gaps = np.flatnonzero(np.diff(times) > _SILENCE)
    starts, ends = times[[0, *(gaps + 1)]] - _ROOM, times[[*gaps, -1]] + frame + _ROOM
    starts[0] = starts[0] if starts[0] > _EXCESS else 0.0
    ends[-1] = ends[-1] if ends[-1] < seconds - _EXCESS else float("inf")  # what makes no whole frame stays
    return [Part(float(start), float(end)) for start, end in zip(starts, ends, strict=True)]
