"""CTC straight from logits, with a gradient of their own size and type.

B batch, T frames, U labels, V labels of the vocabulary; blank = V.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aedo.nn.masks import length_mask
from aedo.nn.precision import single


def ctc_loss_of_logits(logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    """Negative log-likelihood per utterance; 0 where the labels cannot fit the frames.

    logits [B, T, V + 1] (blank last), lengths [B], labels [B, U], label_lengths [B] -> [B] float32.  Lengths live on
    the CPU.  The same as CTC of their log_softmax in float32, but log-probabilities are made only for the symbols that
    an utterance has, and nothing of the logits' size is kept but the logits themselves.
    Source: Graves et al. 2006, whose gradient at the logits is softmax minus posteriors.
    """
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return _Symbols(logits, labels).loss(lengths, label_lengths)
    loss: Tensor = _CtcOfLogits.apply(logits, lengths, labels, label_lengths)  # type: ignore[no-untyped-call]
    return loss


class _Symbols:
    """What CTC sees of the logits: the columns of an utterance's own symbols."""

    def __init__(self, logits: Tensor, labels: Tensor) -> None:
        self.symbols = nn.functional.pad(labels, (0, 1), value=logits.shape[-1] - 1)  # [B, U + 1], blank last
        self.at = self.symbols[:, None, :].expand(-1, logits.shape[1], -1)  # [B, T, U + 1]
        self.normalizer = normalizers(logits)  # [B, T, 1]
        self.log_probs = single(logits.gather(2, self.at)) - self.normalizer
        # Among these columns a label stands for itself by the first of its places, so that repetitions are known.
        self.first = (self.symbols[:, :, None] == self.symbols[:, None, :]).int().argmax(-1)  # [B, U + 1]

    def loss(self, lengths: Tensor, label_lengths: Tensor) -> Tensor:
        return nn.functional.ctc_loss(
            self.log_probs.transpose(0, 1),
            self.first[:, :-1],
            lengths,
            label_lengths,
            blank=self.first.shape[1] - 1,
            reduction="none",
            zero_infinity=True,
        )


class _CtcOfLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
        seen = _Symbols(logits, labels)
        with torch.enable_grad():
            seen.log_probs.requires_grad_()
            loss = seen.loss(lengths, label_lengths)
            # This gradient is that at the logits, in the columns of the symbols: it holds the softmax's, too.
            (gradient,) = torch.autograd.grad(loss.sum(), seen.log_probs)
        gradient = gradient.gather(2, seen.first[:, None, :].expand_as(seen.at))
        present = length_mask(lengths, logits.shape[1], logits.device) & (loss.detach() > 0)[:, None]  # [B, T]
        ctx.save_for_backward(logits, seen.normalizer, seen.symbols, gradient, present)
        return loss.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None, None, None]:
        logits, normalizer, symbols, of_symbols, present = ctx.saved_tensors
        weight = (present * factor[:, None])[:, :, None]  # [B, T, 1]
        gradient = _softmax(logits, normalizer).mul_(weight)
        at = symbols[:, None, :].expand_as(of_symbols)
        return gradient.scatter_(2, at, (of_symbols * weight).to(gradient.dtype)), None, None, None


def _softmax(logits: Tensor, normalizer: Tensor) -> Tensor:
    """Over the last axis, in rows that begin where those of the logits do: products with it want that, too."""
    if logits.dtype != normalizer.dtype:  # of few digits: what is inside the exponential must not be rounded
        return logits.softmax(-1)
    rows = torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype, device=logits.device)
    return torch.sub(logits, normalizer, out=rows).exp_()


def normalizers(logits: Tensor) -> Tensor:
    """logsumexp over the last axis in float32 (float64 of such): [..., V] -> [..., 1], at the cost of one copy."""
    top = logits.amax(-1, keepdim=True)
    return (logits - single(top)).exp_().sum(-1, keepdim=True).log_() + top
