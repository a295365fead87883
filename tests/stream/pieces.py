"""Noise, and audio cut into pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]


def noise(samples: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def cut(samples: Samples, sizes: Sequence[int]) -> Iterator[Samples]:
    """Pieces of these sizes, again and again; a size of 0 gives an empty piece."""
    if not any(sizes):
        yield samples
        return
    start = 0
    for size in cycle(sizes):
        if start >= len(samples):
            return
        yield samples[start : start + size]
        start += size
