"""CTC heads on encoder layers and their loss.  B batch, T frames, U labels, V labels of the vocabulary; blank = V."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aedo.config import Part
from aedo.conventions import EOS
from aedo.losses.smoothing import Smoothing, smoothed
from aedo.model.ctc_heads import CtcHeads
from aedo.nn.init import linear
from aedo.nn.masks import length_mask
from aedo.schedule import Progress, Scheduled, value_at


class CtcConfig(Part):
    layers: tuple[int, ...] = (4, 8)
    """Encoder layers (from 1) with a CTC head; the last one is the head used for recognition."""
    scales: tuple[Scheduled, ...] | Scheduled = 1.0
    """Weight of each head's loss, or one for all."""
    eos: bool = False
    """Append EOS to the targets, as the original did by mistake; needed only for parity."""
    label_smoothing: Smoothing = 0.0
    """Share of every frame's posterior probability of a label that goes to the others, by gradient."""
    smooth_blank: bool = True
    """Whether blank takes part in the smoothing; without it only the labels proper are smoothed among themselves."""
    shared: bool = False
    """One head for all layers instead of one for each."""

    def scale(self, layer: int, progress: Progress) -> float:
        scales = self.scales
        return value_at(scales[self.layers.index(layer)] if isinstance(scales, tuple) else scales, progress)

    def build(self, dim: int, vocabulary: int) -> CtcHeads:
        return CtcHeads(self.layers, lambda: linear(dim, vocabulary + 1), shared=self.shared)


def ctc_loss(
    log_probs: Tensor,
    lengths: Tensor,
    labels: Tensor,
    label_lengths: Tensor,
    *,
    smoothing: float = 0.0,
    smooth_blank: bool = True,
) -> Tensor:
    """Negative log-likelihood per utterance; 0 where the labels cannot fit the frames.

    log_probs [B, T, V + 1] (blank last), lengths [B], labels [B, U], label_lengths [B] -> [B] float32.  Lengths live on
    the CPU.  With `smoothing` the value stays and the gradient becomes that of a cross-entropy, frame by frame, to the
    smoothed posteriors of the CTC states; without blank, the labels' share of a frame is smoothed among the labels
    (the reference, which adds the same to every frame, gives labels to frames that are blank).
    Source: Graves et al. 2006; smoothing by gradient: RETURNN, label_smoothed_log_prob_gradient.
    """
    if smoothing == 0.0 or not torch.is_grad_enabled():
        return _plain_ctc_loss(log_probs, lengths, labels, label_lengths)
    loss, posteriors = _posteriors(log_probs.detach(), lengths, labels, label_lengths)
    blank = log_probs.shape[-1] - 1
    targets = smoothed(posteriors, smoothing, None if smooth_blank else blank)
    towards = -(targets * log_probs.float()).sum((1, 2))
    return loss + (towards - towards.detach())


def _plain_ctc_loss(log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    return nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1),
        labels,
        lengths,
        label_lengths,
        blank=log_probs.shape[-1] - 1,
        reduction="none",
        zero_infinity=True,
    )


def _posteriors(log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Loss [B] and, summed over the states of a symbol, posteriors [B, T, V + 1]; zeros where there is no path.

    torch's gradient of CTC already holds that of the softmax: it is softmax minus posteriors.
    """
    with torch.enable_grad():
        leaf = log_probs.float().requires_grad_()
        loss = _plain_ctc_loss(leaf, lengths, labels, label_lengths)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    present = length_mask(lengths, log_probs.shape[1], log_probs.device) & (loss.detach() > 0)[:, None]  # [B, T]
    return loss.detach(), (leaf.detach().exp() - gradient) * present[:, :, None]


def collapse(path: Tensor, valid: Tensor, *, blank: int) -> tuple[Tensor, Tensor]:
    """Labels of frame paths: path [B, T] int64, valid [B, T] bool -> ids [B, U] (EOS behind the end), lengths [B].

    A label that the path takes up again after a blank counts twice; EOS, which some models emit on frames, is dropped.
    """
    before = torch.nn.functional.pad(path[:, :-1], (1, 0), value=-1)
    kept = valid & (path != before) & (path != blank) & (path != EOS)
    counts = kept.sum(1)
    slots = torch.where(kept, kept.cumsum(1) - 1, path.shape[1])  # frames without a label share one slot behind the end
    ids = path.new_full((len(path), path.shape[1] + 1), EOS).scatter(1, slots, path)[:, : path.shape[1]]
    return ids[:, : int(counts.max())].contiguous(), counts


def label_errors(logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> int:
    """Edit distance, summed over the batch, between the labels of the best frame paths and the right ones.

    Logits or log-probabilities [B, T, V + 1], the others as for `ctc_loss`.  Waits for the device.
    """
    import kaldialign

    valid = length_mask(lengths, logits.shape[1], torch.device("cpu"))
    ids, counts = collapse(logits.argmax(-1).cpu(), valid, blank=logits.shape[-1] - 1)
    pairs = zip(labels.tolist(), label_lengths.tolist(), ids.tolist(), counts.tolist())
    return sum(kaldialign.edit_distance(right[:u], found[:n])["total"] for right, u, found, n in pairs)
