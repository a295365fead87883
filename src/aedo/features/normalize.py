"""Normalisation of features per mel band, with statistics of the utterance, of the training data, or running ones.

B batch, T frames, F mel bands.  Padding counts for no statistic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aedo.config import Part
from aedo.nn.masks import length_mask


class UtteranceNormConfig(Part):
    kind: Literal["utterance"] = "utterance"
    variance: bool = True
    """Divide by the standard deviation too, not only take the mean off."""
    eps: float = Field(1e-5, gt=0)
    """Added to the variance."""

    def build(self, bands: int) -> UtteranceNorm:
        return UtteranceNorm(variance=self.variance, eps=self.eps)


class GlobalNormConfig(Part):
    kind: Literal["global"] = "global"
    utterances: int = Field(1000, ge=1)
    """Utterances of the training data the statistics come from: always the same ones, at their own speed."""
    eps: float = Field(1e-5, gt=0)
    """Added to the variance."""

    def build(self, bands: int) -> GlobalNorm:
        return GlobalNorm(bands, utterances=self.utterances, eps=self.eps)


class RunningNormConfig(Part):
    kind: Literal["batch"] = "batch"
    eps: float = Field(1e-3, gt=0)
    """Added to the variance."""
    momentum: float = Field(0.1, gt=0, le=1)
    """Weight of the new batch in the running statistics."""

    def build(self, bands: int) -> RunningNorm:
        return RunningNorm(bands, eps=self.eps, momentum=self.momentum)


FeatureNormConfig = Annotated[UtteranceNormConfig | GlobalNormConfig | RunningNormConfig, Field(discriminator="kind")]


class UtteranceNorm(nn.Module):
    """Every utterance by its own mean and (biased) variance over time, in training and use alike."""

    def __init__(self, *, variance: bool, eps: float) -> None:
        super().__init__()
        self.variance, self.eps = variance, eps

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, F], lengths [B] on the CPU -> [B, T, F]."""
        valid = length_mask(lengths, x.shape[1], x.device)[..., None]
        frames = lengths.clamp_min(1).to(x.device, non_blocking=True)[:, None, None]
        centred = x - (x * valid).sum(1, keepdim=True) / frames
        if not self.variance:
            return centred
        var = (centred.square() * valid).sum(1, keepdim=True) / frames
        return centred * torch.rsqrt(var + self.eps)


class GlobalNorm(nn.Module):
    """One mean and variance, computed over training utterances before the first step and kept with the weights."""

    mean: Tensor
    var: Tensor

    def __init__(self, bands: int, *, utterances: int, eps: float) -> None:
        super().__init__()
        self.utterances, self.eps = utterances, eps
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("var", torch.ones(bands))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, F] -> [B, T, F]."""
        return (x - self.mean) * torch.rsqrt(self.var + self.eps)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> int:
        """Set the statistics from features [B, T, F] and their lengths [B]; how many frames those were.

        Sums in float64, so the order of the batches makes no difference in float32.  Without any frame nothing changes.
        """
        count, total = 0, torch.zeros(2, len(self.mean), dtype=torch.float64)
        for x, lengths in batches:
            valid = length_mask(lengths, x.shape[1], x.device)[..., None]
            values = x.double() * valid
            total += torch.stack([values.sum((0, 1)), values.square().sum((0, 1))]).cpu()
            count += int(lengths.sum())
        if count:
            mean, square = total / count
            self.mean.copy_(mean)
            self.var.copy_((square - mean.square()).clamp_min(0))
        return count


class RunningNorm(nn.Module):
    """BatchNorm without scale and shift; the variance is the biased one, also the running one.

    Source: RETURNN, frontend/normalization.py ("feature batch norm" of its later recipes).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, bands: int, *, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.register_buffer("running_mean", torch.zeros(bands))
        self.register_buffer("running_var", torch.ones(bands))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, F], lengths [B] on the CPU -> [B, T, F]."""
        frames = int(lengths.sum())
        if not self.training or not frames:
            return (x - self.running_mean) * torch.rsqrt(self.running_var + self.eps)
        valid = length_mask(lengths, x.shape[1], x.device)[..., None]
        mean = (x * valid).sum((0, 1)) / frames
        centred = x - mean
        var = (centred.square() * valid).sum((0, 1)) / frames
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        return centred * torch.rsqrt(var + self.eps)
