"""CTC frames as the searches take them: likeliest symbols merged, blanks left out.

B batch, T frames, V labels of the vocabulary; blank = V, the last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aedo.nn.masks import length_mask


@dataclass(frozen=True)
class Frames:
    log_probs: Tensor
    """[B, T, V + 1]; behind the end anything."""
    lengths: Tensor
    """[B] int64 on the CPU."""
    parted: Tensor
    """[B, T] bool: blanks were left out right before this frame, so that a label repeated there counts again."""
    left_out: Tensor
    """[B] log probability of the blanks left out."""

    @classmethod
    def of(
        cls, log_probs: Tensor, lengths: Tensor, *, soft_collapse: float | None = None, skip_blank: float | None = None
    ) -> Frames:
        """All frames, or fewer: `soft_collapsed`, then without those where blank has at least that probability."""
        if soft_collapse is not None:
            log_probs, lengths = soft_collapsed(log_probs, lengths, soft_collapse)
        batch, frames, _ = log_probs.shape
        parted = torch.zeros(batch, frames, dtype=torch.bool, device=log_probs.device)
        whole = cls(log_probs, lengths, parted, log_probs.new_zeros(batch))
        return whole if skip_blank is None else _without_blanks(whole, skip_blank)

    def select(self, rows: Tensor) -> Frames:
        """The utterances at `rows` ([R] int64 on the frames' device)."""
        return Frames(self.log_probs[rows], self.lengths[rows.cpu()], self.parted[rows], self.left_out[rows])


def without_label(log_probs: Tensor, label: int) -> Tensor:
    """The symbol gets no probability; the others keep theirs, as the reference does it with EOS."""
    result = log_probs.clone()
    result[..., label] = float("-inf")
    return result


def soft_collapsed(log_probs: Tensor, lengths: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Frames next to each other with the same likeliest symbol, of at least that probability in each, made one.

    The new frame is their element-wise maximum, normalised again.  log_probs [B, T, V + 1], lengths [B] on the CPU ->
    the same with fewer frames, zeros behind the end.  Source: the reference (`max_renorm`).
    """
    values, best = log_probs.max(-1)
    valid = length_mask(lengths, log_probs.shape[1], log_probs.device)
    sure = (values.exp() >= threshold) & valid
    joins = sure[:, 1:] & sure[:, :-1] & (best[:, 1:] == best[:, :-1])
    starts = valid & ~torch.nn.functional.pad(joins, (1, 0))
    counts = starts.sum(1).cpu()
    places = (starts.cumsum(1) - 1)[..., None].expand_as(log_probs)  # of padding: that of the last frame
    merged = torch.full_like(log_probs, float("-inf")).scatter_reduce(
        1, places.clamp_min(0), log_probs.masked_fill(~valid[..., None], float("-inf")), "amax"
    )[:, : int(counts.max())]
    alone = starts.long().new_zeros(starts.shape).scatter_add(1, places[..., 0].clamp_min(0), valid.long()) == 1
    merged = torch.where(alone[:, : merged.shape[1], None], merged, merged.log_softmax(-1))
    return merged.masked_fill(~length_mask(counts, merged.shape[1], merged.device)[..., None], 0.0), counts


def _without_blanks(frames: Frames, threshold: float) -> Frames:
    blank = frames.log_probs[..., -1]
    valid = length_mask(frames.lengths, blank.shape[1], blank.device)
    kept = valid & (blank.exp() < threshold)
    counts = kept.sum(1).cpu()
    order = (~kept).long().argsort(dim=1, stable=True)[:, : max(1, int(counts.max()))]  # the kept ones first
    parted = torch.nn.functional.pad(~kept[:, :-1] & valid[:, :-1], (1, 0))
    return replace(
        frames,
        log_probs=frames.log_probs.gather(1, order[..., None].expand(-1, -1, frames.log_probs.shape[-1])),
        lengths=counts,
        parted=parted.gather(1, order),
        left_out=torch.where(valid & ~kept, blank, 0.0).sum(1),
    )
