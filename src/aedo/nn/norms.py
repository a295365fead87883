"""Norms of blocks and of the convolution module, batch normalisation over the valid frames among them.

B batch, T frames, D features.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aedo.config import Part

BlockNorm = Literal["layer", "layer_no_bias", "rms"]
"""layer: layer normalisation; layer_no_bias: without its shift; rms: RMS normalisation, which takes no mean either."""


def block_norm(kind: BlockNorm, dim: int) -> nn.LayerNorm | nn.RMSNorm:
    """Over the features [..., D].  Source: Ba et al. 2016; RMS: Zhang & Sennrich 2019."""
    if kind == "rms":
        return nn.RMSNorm(dim, eps=1e-6)
    return nn.LayerNorm(dim, eps=1e-6, bias=kind == "layer")


class BatchNormConfig(Part):
    kind: Literal["batch"] = "batch"
    masked: bool = True
    """Leave padding out of the statistics."""
    eps: float = Field(1e-3, gt=0)
    momentum: float = Field(0.1, gt=0, le=1)
    """Weight of the new batch in the running statistics."""

    def build(self, dim: int) -> MaskedBatchNorm:
        return MaskedBatchNorm(dim, masked=self.masked, eps=self.eps, momentum=self.momentum)


class LayerNormConfig(Part):
    kind: Literal["layer"] = "layer"
    eps: float = Field(1e-6, gt=0)

    def build(self, dim: int) -> FrameLayerNorm:
        return FrameLayerNorm(dim, eps=self.eps)


class FrameLayerNorm(nn.LayerNorm):
    """Layer normalisation with the signature of MaskedBatchNorm."""

    def forward(self, x: Tensor, mask: Tensor | None = None, frames: int = 0) -> Tensor:
        return super().forward(x)


class MaskedBatchNorm(nn.Module):
    """BatchNorm on [B, T, D] in float32.

    With `masked`, means and biased variances (also the running ones) come from the valid frames only; without, all
    frames count and the running variance is the unbiased one.  Source: RETURNN, frontend/normalization.py.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int, *, masked: bool, eps: float, momentum: float) -> None:
        super().__init__()
        self.masked, self.eps, self.momentum = masked, eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x: Tensor, mask: Tensor, frames: int) -> Tensor:
        """x [B, T, D], mask [B, T] True on valid frames, frames: how many those are -> [B, T, D] float32."""
        x = x.float()
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return x * scale + (self.bias - self.running_mean * scale)
        if not self.masked:
            normed = nn.functional.batch_norm(
                x.flatten(0, 1),
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                True,
                self.momentum,
                self.eps,
            )
            return normed.view_as(x)
        valid = mask[..., None].to(x.dtype)  # [B, T, 1]
        y, mean, var = _Normed.apply(x, valid, frames, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)
        result: Tensor = y
        return result


class _Normed(torch.autograd.Function):
    """x [B, T, D] normalised by the mean and variance of the valid frames, and those [D].

    Written out, since left to autograd forward and backward together pass over [B, T, D] three times as often.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, valid: Tensor, frames: int, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = (x * valid).sum((0, 1)) / frames
        centred = x - mean
        var = centred.square().mul_(valid).sum((0, 1)) / frames
        inverse = torch.rsqrt(var + eps)
        ctx.frames = frames
        ctx.save_for_backward(centred, valid, weight, inverse)
        ctx.mark_non_differentiable(mean, var)
        return torch.addcmul(bias, centred, weight * inverse), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor, None]:
        centred, valid, weight, inverse = ctx.saved_tensors
        along = (gradient * centred).sum((0, 1))  # [D]
        by_variance = (centred * (along * inverse.square() / ctx.frames)).mul_(valid)  # only valid frames have made it
        inner = by_variance.neg_().add_(gradient).mul_(weight * inverse)
        # By the mean: taken off last, it leaves a bias in front of the norm with hardly more than no gradient.
        inner.addcmul_(inner.sum((0, 1)) / ctx.frames, valid, value=-1)
        return inner, None, None, along * inverse, gradient.sum((0, 1)), None
