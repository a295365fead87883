"""Time-synchronous joint search by the rules of the reference, for comparison with its results.

B batch, T frames, K hypotheses, U labels, V labels of the vocabulary; blank = V, the last.

A hypothesis is a sequence of labels and the symbol of its last frame.  Unlike in `aedo.search.joint_time`:

* hypotheses with the same labels are made one although one of them ends in a blank and the other does not, so the
  result is not the best of its score even in a beam with room for everything;
* that happens only in frames in which a hypothesis got a new label, in the original if that is so anywhere in the
  batch: what else is in the batch can change the result (`by_batch`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.nn.masks import length_mask
from aedo.search.advance import advance
from aedo.search.hypotheses import NBest, ranked
from aedo.search.scorer import LabelScorer

Recombination = Literal["max", "sum"]


@torch.inference_mode()
def reference_joint_search(
    log_probs: Tensor,
    lengths: Tensor,
    scorer: LabelScorer,
    *,
    beam: int,
    ctc_scale: float,
    aed_scale: float,
    recombination: Recombination | None,
    by_batch: bool = True,
) -> NBest:
    """Scored: ctc_scale x CTC of the frames' symbols + aed_scale x log probability of the labels with EOS.

    log_probs [B, T, V + 1], lengths [B] on the CPU; beam at most V + 1.
    """
    batch, frames, symbols = log_probs.shape
    blank, device = symbols - 1, log_probs.device
    valid = length_mask(lengths, frames, device)
    silence = torch.full((symbols,), float("-inf"), device=device)
    silence[blank] = 0.0
    frame_scores = torch.where(valid[..., None], ctc_scale * log_probs, silence)

    ahead, state = scorer.step(None, scorer.start())  # [B, 1, V]
    scores = log_probs.new_zeros(batch, 1)
    last = lengths.new_full((batch, 1), blank).to(device)
    labels = last.new_zeros(batch, 1, 0)
    counts = torch.zeros_like(last)
    symbol = torch.arange(symbols, device=device)
    rows = torch.arange(batch, device=device)
    for frame in range(frames):
        adds = (symbol != blank) & (symbol != last[..., None])  # [B, K, V + 1]
        decoder = torch.nn.functional.pad(aed_scale * ahead, (0, 1))
        totals = scores[..., None] + frame_scores[:, frame, None] + torch.where(adds, decoder, 0.0)
        scores, chosen = totals.flatten(1).topk(beam)
        back, last = chosen.div(symbols, rounding_mode="floor"), chosen % symbols
        new = adds.flatten(1).gather(1, chosen) | ((scores == float("-inf")) & (last != blank))
        labels = torch.nn.functional.pad(labels.gather(1, back[..., None].expand(-1, -1, frame)), (0, 1), value=-1)
        counts = counts.gather(1, back)
        labels = torch.where(
            new[..., None] & (torch.arange(frame + 1, device=device) == counts[..., None]), last[..., None], labels
        )
        counts = counts + new.long()
        if recombination is not None:
            happens = new.any().expand(batch) if by_batch else new.any(1)
            scores = torch.where(happens[:, None], _recombined(scores, labels, recombination), scores)
        ahead, state = ahead[rows[:, None], back], state.gather(rows, back)
        news = new & (scores > float("-inf"))
        ahead, state = advance(scorer, ahead, state, last.clamp(max=blank - 1), news, int(news.sum(1).max()))
    return ranked(labels.clamp_min(0), counts, scores + aed_scale * ahead[..., EOS], frames)


def _recombined(scores: Tensor, labels: Tensor, recombination: Recombination) -> Tensor:
    """Scores [B, K]: the best of those with the same labels [B, K, U] stays, the others get minus infinity."""
    same = (labels[:, :, None] == labels[:, None]).all(-1)  # [B, K, K]
    order = torch.arange(scores.shape[1], device=scores.device)
    theirs, mine = scores[:, None], scores[..., None]
    beaten = same & ((theirs > mine) | ((theirs == mine) & (order < order[:, None])))
    total = scores
    if recombination == "sum":
        total = theirs.expand_as(same).masked_fill(~same, float("-inf")).logsumexp(-1)
    return total.masked_fill(beaten.any(-1), float("-inf"))
