"""Search over CTC frames.  B batch, T frames, U labels, K paths, V labels of the vocabulary; blank = V, the last."""

from __future__ import annotations

import torch
from torch import Tensor

from aedo.losses.ctc import collapse
from aedo.nn.masks import length_mask
from aedo.search.hypotheses import NBest
from aedo.search.largest import largest


@torch.inference_mode()
def ctc_greedy(log_probs: Tensor, lengths: Tensor) -> NBest:
    """The labels of the best frame path: repetitions merged, blanks removed.  One hypothesis, scored by its path.

    log_probs [B, T, V + 1], lengths [B] int64 on the CPU.
    """
    frames = log_probs.shape[1]
    values, path = log_probs.max(-1)  # [B, T]
    valid = length_mask(lengths, frames, path.device)
    ids, counts = collapse(path, valid, blank=log_probs.shape[-1] - 1)
    scores = values.masked_fill(~valid, 0.0).sum(1)
    return NBest(ids[:, None].cpu(), counts[:, None].cpu(), scores[:, None].float().cpu(), frames)


@torch.inference_mode()
def ctc_paths(log_probs: Tensor, lengths: Tensor, *, beam: int) -> NBest:
    """The K best frame paths; `labels` are the frames' symbols, nothing merged, blanks behind the end; scores are sums.

    log_probs [B, T, V + 1], lengths [B] int64 on the CPU.  Source: the search the reference uses for its CTC models.
    """
    batch, frames, symbols = log_probs.shape
    values, best = largest(log_probs, min(beam, symbols))  # [B, T, W]: frames are independent of each other
    width = best.shape[-1]
    valid = length_mask(lengths, frames, best.device)
    stay = torch.full((width,), float("-inf"), device=values.device)
    stay[0] = 0.0
    values = torch.where(valid[..., None], values.float(), stay)
    best = torch.where(valid[..., None], best, symbols - 1)
    scores = values.new_zeros(batch, 1)
    paths = best.new_zeros(batch, 1, 0)
    for frame in range(frames):
        totals = (scores[..., None] + values[:, None, frame]).flatten(1)  # [B, K W]
        scores, chosen = totals.topk(min(beam, totals.shape[1]), -1)
        back = chosen.div(width, rounding_mode="floor")
        symbol = best[:, frame].gather(1, chosen % width)
        history = paths.gather(1, back[..., None].expand(-1, -1, frame))
        paths = torch.cat([history, symbol[..., None]], -1)
    counts = lengths[:, None].expand(scores.shape).contiguous()
    return NBest(paths.cpu(), counts, scores.cpu(), frames)
