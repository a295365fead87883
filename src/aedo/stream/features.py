"""Features of audio that comes piece by piece, cut into the windows that a chunked encoder sees.

N samples, W feature frames of a window, F mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aedo.data.audio import Samples
from aedo.features.logmel import LogMel

_FEWEST = 16
"""Frames computed at once at least.  Matrix products of very few rows are rounded differently from those of many; from
four rows on a row's result does not depend on the others', and features of a stream equal those of the whole audio."""


@dataclass(frozen=True)
class Window:
    """What a chunked encoder sees in one step."""

    values: Tensor
    """[W, F] float32 on the CPU; zero behind the end of the audio."""
    frames: int
    """How many of them lie within the audio."""
    last: bool
    """Whether no window follows."""


class WindowCutter:
    """Samples in, windows of `size` frames every `stride` out; the offline windows bit for bit, whatever the pieces.

    Frames are computed once a window, always as many at once: the first window's all together, then those that each
    window adds.  Behind the end of the audio the samples are zeros, and the frames not counted.  What is carried: the
    samples that no frame has used up yet, and the frames of one window.

    `features` may normalise by fixed statistics, not by those of the utterance.
    """

    def __init__(self, features: LogMel, size: int, stride: int) -> None:
        if not 0 < stride <= size:
            raise ValueError(f"windows of {size} frames every {stride}")
        self.features, self.size, self.stride = features, size, stride
        self._window, self._hop = features.window_length, features.hop
        self._device = features.filters.device
        self.reset()

    def reset(self) -> None:
        """As new: the next sample is the first one."""
        self._samples = torch.zeros(0)
        self._frames = torch.zeros(0, self.features.filters.shape[1])
        self.seen = 0
        """Samples taken in so far."""

    @property
    def carried(self) -> int:
        """Bytes of the carried state."""
        return 4 * (self._samples.numel() + self._frames.numel())

    def push(self, samples: Samples) -> list[Window]:
        """Windows that these samples complete."""
        self.seen += len(samples)
        self._samples = torch.cat([self._samples, torch.from_numpy(samples)])
        found = []
        # A window that ends with the audio is the last one.  Where windows overlap, a full one never is; where they do
        # not, the first frame of the next one tells.
        ahead = 1 if self.size == self.stride else 0
        while self._available() >= self._missing() + ahead:
            self._compute(self._missing())
            found.append(Window(self._frames, self.size, last=False))
            self._frames = self._frames[self.stride :]
        return found

    def finish(self) -> list[Window]:
        """The windows left at the end of the audio."""
        found = []
        rest = self._available()
        while len(self._frames) + rest > 0:
            count = min(rest, self._missing())
            if count:
                self._compute(count)
                rest -= count
            here = len(self._frames)
            values = torch.nn.functional.pad(self._frames, (0, 0, 0, self.size - here))
            left = here + rest - self.stride
            found.append(Window(values, here, last=left <= 0))
            self._frames = self._frames[self.stride :]
        self._samples = self._samples[:0]
        self._frames = self._frames[:0]
        return found

    def _missing(self) -> int:
        """Frames to compute for the next window: always the same number but for the first one."""
        return self.size - len(self._frames)

    def _available(self) -> int:
        return int(self.features.lengths(torch.tensor(len(self._samples))))

    def _compute(self, count: int) -> None:
        """Move `count` frames from the samples to the frames, computed as a full block."""
        block = max(self._missing(), _FEWEST)
        wanted = (block - 1) * self._hop + self._window
        samples = self._samples[: (count - 1) * self._hop + self._window]
        padded = torch.nn.functional.pad(samples, (0, wanted - len(samples)))[None]
        values = self.features(padded.to(self._device), torch.tensor([wanted])).values[0].cpu()
        self._frames = torch.cat([self._frames, values[:count]])
        self._samples = self._samples[count * self._hop :]
