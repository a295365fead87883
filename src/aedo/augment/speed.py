"""Speed perturbation: resample an utterance and play it at the old rate.  n utterances, N samples."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from aedo.config import Part

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Samples = npt.NDArray[np.float32]


class SpeedConfig(Part):
    factors: tuple[Annotated[float, Field(ge=0.1, le=10)], ...] = Field((0.9, 1.0, 1.1), min_length=1)
    """Length factors drawn uniformly per utterance (1.1 = slower, longer)."""
    every: bool = False
    """Draw none: a pass over the data has every utterance once with each factor, as if the data were that much more."""


def rates_of(config: SpeedConfig, sample_rate: int) -> Int64:
    """The rates utterances are resampled to, one for each factor: int(sample_rate x factor)."""
    return np.array([int(sample_rate * factor) for factor in config.factors], dtype=np.int64)


def draw_rates(config: SpeedConfig, utterances: Int64, sample_rate: int, *, seed: int, epoch: int) -> Int64:
    """The rate each utterance is resampled to, [n] -> [n]: one of `rates_of`, drawn uniformly.

    A pure function of (seed, epoch, number of the utterance): neither order nor batch nor worker matter.
    Source: Ko et al. 2015; rates as in the reference.
    """
    rates = rates_of(config, sample_rate)
    state = _mixed(_mixed(_mixed(np.uint64(seed % 2**64)) ^ np.uint64(epoch)) ^ utterances.astype(np.uint64))
    choice: Int64 = ((state >> np.uint64(32)) * np.uint64(len(rates)) >> np.uint64(32)).astype(np.int64)
    return np.asarray(rates[choice])


def perturbed_lengths(lengths: Int64, rates: Int64, sample_rate: int) -> Int64:
    """Samples after resampling, rounded to the nearest whole number, at least 1.  [n], [n] -> [n]."""
    rounded: Int64 = (lengths * rates * 2 + sample_rate) // (2 * sample_rate)
    return rounded.clip(min=1)


def perturb(samples: Samples, rate: int, sample_rate: int, length: int) -> Samples:
    """Resample to `rate`, to be played at `sample_rate`: [N] -> [length].

    The resampler may round the length otherwise than `perturbed_lengths`; the end is cut or gets a zero to match.
    """
    if rate == sample_rate:
        return samples
    import soxr

    resampled = soxr.resample(samples, sample_rate, rate, quality="HQ").astype(np.float32, copy=False)[:length]
    return np.pad(resampled, (0, length - len(resampled)))


def _mixed(x: np.uint64 | UInt64) -> UInt64:
    """SplitMix64: every bit of the input changes every bit of the output evenly.  Source: Steele et al. 2014."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        x = np.asarray(x + np.uint64(0x9E3779B97F4A7C15))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))
