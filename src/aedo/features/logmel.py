"""Log-mel features of the reference: framing at the left, no padding by reflection, clamp before the logarithm.

B batch, N samples, T frames, F mel filters.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.features.normalize import FeatureNormConfig


class Features(NamedTuple):
    values: Tensor
    """[B, T, F] float32, on the model's device."""
    lengths: Tensor
    """[B] int64, on the CPU, in frames."""


class LogMelConfig(Part):
    dim: int = Field(80, ge=1)
    """Mel filters."""
    sample_rate: int = Field(16000, gt=0)
    window: int = Field(400, gt=0)
    """Window length in samples (25 ms)."""
    hop: int = Field(160, gt=0)
    """Samples between frames (10 ms)."""
    fft: int = Field(512, gt=0)
    min_hz: float = 0.0
    max_hz: float = 8000.0
    floor: float = Field(1e-10, gt=0)
    """Smallest filter output before the logarithm."""
    log_base: float = Field(math.exp(2.3026), gt=1)
    """Base of the logarithm (the reference: exp(2.3026), nearly 10)."""
    normalize: FeatureNormConfig | None = None
    """What is done to the features before any augmentation (the reference: nothing)."""

    def build(self) -> LogMel:
        return LogMel(
            mel_filters(self.dim, self.fft, self.sample_rate, self.min_hz, self.max_hz),
            window=self.window,
            hop=self.hop,
            floor=self.floor,
            log_scale=1.0 / math.log(self.log_base),
            normalize=None if self.normalize is None else self.normalize.build(self.dim),
        )


def mel_filters(dim: int, fft: int, sample_rate: int, min_hz: float, max_hz: float) -> Tensor:
    """Triangular filters of peak 1 over the bins of the power spectrum -> [fft // 2 + 1, dim].

    Centres are equally spaced on mel(f) = 1125 ln(1 + f / 700) and not rounded to bins.  Source: RETURNN, audio/mel.py.
    """

    def mel(hz: float) -> float:
        return 1125.0 * math.log(1.0 + hz / 700.0)

    points = torch.linspace(mel(min_hz), mel(max_hz), dim + 2, dtype=torch.float64)
    centres = (fft / sample_rate) * 700.0 * (torch.exp(points / 1125.0) - 1.0)
    centres = centres.to(torch.float32)  # the reference keeps the centres in single precision
    low, mid, high = (c.to(torch.float64) for c in (centres[:-2], centres[1:-1], centres[2:]))
    bins = torch.arange(fft // 2 + 1, dtype=torch.float64)[:, None]  # [bins, 1]
    rising = (bins - low) / (mid - low)
    falling = (high - bins) / (high - mid)
    inside_rising, inside_falling = (low < bins) & (bins < mid), (mid <= bins) & (bins < high)
    zero = torch.zeros((), dtype=torch.float64)
    return torch.where(inside_rising, rising, torch.where(inside_falling, falling, zero)).to(torch.float32)


class LogMel(nn.Module):
    """[B, N] samples -> [B, T, F], T = floor((N - window) / hop) + 1; all zero where a whole FFT does not fit.

    Always computed in float32, whatever the autocast.  `normalize`, if given, has the last word.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        filters: Tensor,
        *,
        window: int,
        hop: int,
        floor: float,
        log_scale: float,
        normalize: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.hop, self.floor, self.log_scale = hop, floor, log_scale
        self.window_length, self.fft = window, 2 * (filters.shape[0] - 1)
        padded = torch.zeros(self.fft)
        padded[:window] = torch.hann_window(window, periodic=True)  # at the left of the FFT buffer, as in SciPy and TF
        self.register_buffer("window", padded, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def lengths(self, samples: Tensor) -> Tensor:
        """Frames for a number of samples, [B] -> [B]."""
        return ((samples - self.window_length).div(self.hop, rounding_mode="floor") + 1).clamp_min(0)

    def forward(self, audio: Tensor, lengths: Tensor) -> Features:
        values, frames = self.log_mel(audio, lengths)
        return Features(values if self.normalize is None else self.normalize(values, frames), frames)

    def log_mel(self, audio: Tensor, lengths: Tensor) -> Features:
        """As `forward`, without normalisation."""
        frames = self.lengths(lengths)
        tail = self.fft - self.window_length
        with torch.autocast(audio.device.type, enabled=False):
            signal = nn.functional.pad(audio.float(), (0, tail))
            if signal.shape[1] < self.fft:
                return Features(
                    signal.new_zeros(len(lengths), max(0, int(frames.max())), self.filters.shape[1]), frames
                )
            windows = signal.unfold(1, self.fft, self.hop) * self.window  # [B, T, fft]
            power = torch.fft.rfft(windows).abs().square()  # [B, T, bins]
            mel = power @ self.filters  # [B, T, F]
            return Features(mel.clamp_min(self.floor).log() * self.log_scale, frames)
