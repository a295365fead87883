"""Time-synchronous search: CTC prefixes, frame by frame, with a decoder's (and other) scores of their labels.

R utterances, T frames, K hypotheses, W symbols considered in a frame, U labels, V labels of the vocabulary; blank = V.

The score of labels y is

    ctc_scale x C(y) + sum over i of s(y_i | y_1 .. y_i-1) + s(EOS | y)

with s the scorers' weighted sum and C(y), over all paths of frame symbols that give y, the log probability of the best
one (recombination `max`; ctc_scale C is then the scaled best path) or, divided by ctc_scale, the logarithm of the sum
of their probabilities to the power of ctc_scale (`sum`).  A hypothesis is a sequence of labels with two scores, of its
paths that end in a blank and of those that end in its last label: with room for everything the search finds the best
score there is.  Without scorers it is CTC prefix beam search.

Source: Graves and Jaitly 2014; Hannun et al. 2014 (prefix search with a language model); with an attention decoder in
the place of the language model: the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.search.advance import advance
from aedo.search.frames import Frames, without_label
from aedo.search.hypotheses import NBest, joined, ranked
from aedo.search.largest import largest
from aedo.search.scorer import LabelScorer

Recombination = Literal["max", "sum"]
_COMPACT = 0.875  # as in aedo.search.beam


@dataclass(frozen=True)
class _Prefixes:
    """Hypotheses of the utterances still searched; minus infinity where there is none."""

    rows: Tensor
    """[R] which utterance of the batch each row is."""
    blank: Tensor
    """[R, K] CTC score of the paths that end in a blank."""
    label: Tensor
    """[R, K] of those that end in the last label."""
    rest: Tensor
    """[R, K] scorers' sum."""
    labels: Tensor
    """[R, K, U] int64, -1 behind the end."""
    lengths: Tensor
    """[R, K]."""
    last: Tensor
    """[R, K] the last label, -1 of an empty hypothesis."""

    def at(self, rows: Tensor) -> _Prefixes:
        return _Prefixes(*(getattr(self, field.name)[rows] for field in fields(self)))


@torch.inference_mode()
def prefix_search(
    frames: Frames,
    scorer: LabelScorer | None,
    *,
    beam: int,
    ctc_scale: float = 1.0,
    recombination: Recombination = "sum",
    symbols: int | None = None,
    prune: float | None = None,
) -> NBest:
    """The best hypotheses of every utterance, whatever the batch.

    `symbols`: only this many likeliest labels of a frame may begin there (None: all).  `prune`: hypotheses worse than
    the best by more than this are dropped (None: none).  Waits for the device once a frame.
    """
    frames = _prepared(frames, ctc_scale)
    combine: Callable[[Tensor, Tensor], Tensor] = torch.maximum if recombination == "max" else torch.logaddexp
    wide = frames.log_probs.shape[-1] - 1
    values, candidates = largest(frames.log_probs[..., :wide], min(symbols or wide, wide))  # of all frames, [R, T, W]
    hypotheses = _empty(frames, beam)
    ahead: Tensor | None = None
    state: Any = None
    if scorer is not None:
        ahead, state = scorer.step(None, scorer.start())
        everywhere = torch.arange(len(frames.lengths), device=ahead.device)
        first = torch.zeros_like(hypotheses.lengths)
        ahead = ahead.expand(len(first), 1, wide)[everywhere[:, None], first]
        state = state.gather(everywhere, first)

    finished: list[NBest] = []
    places: list[Tensor] = []
    longest = int(frames.lengths.max()) if len(frames.lengths) else 0
    for frame in range(longest + 1):
        done = frames.lengths <= frame
        waiting = int((~done).sum())
        if not waiting or waiting <= _COMPACT * len(done):
            out, here = (mask.nonzero()[:, 0].to(hypotheses.rows.device) for mask in (done, ~done))
            ended = hypotheses.at(out)
            scores = combine(ended.blank, ended.label) + ended.rest
            if ahead is not None:
                scores = scores + ahead[out][..., EOS]
            finished.append(ranked(ended.labels.clamp_min(EOS), ended.lengths, scores, longest))
            places.append(ended.rows.cpu())
            if not waiting:
                break
            hypotheses, frames = hypotheses.at(here), frames.select(here)
            values, candidates = values[here], candidates[here]
            if ahead is not None and scorer is not None:
                scorer, ahead = scorer.select(here), ahead[here]
                state = state.gather(here, torch.arange(beam, device=here.device).expand(len(here), beam))
        hypotheses, back, new = _one_frame(
            hypotheses, frames, frame, values[:, frame], candidates[:, frame], ahead, combine, prune
        )
        count, used = torch.stack([new.sum(1).max(), hypotheses.lengths.max()]).tolist()
        hypotheses = _with_room(hypotheses, used)
        if ahead is not None and scorer is not None:
            ahead, state = _moved(scorer, ahead, state, back, hypotheses.last.clamp_min(EOS), new, count)
    return joined(finished, places)


def _prepared(frames: Frames, ctc_scale: float) -> Frames:
    """EOS is no symbol of a frame; behind the end there is nothing but blanks, free of charge."""
    log_probs = without_label(frames.log_probs.float(), EOS) * ctc_scale
    behind = torch.arange(log_probs.shape[1])[None] >= frames.lengths[:, None]
    silence = torch.full((log_probs.shape[-1],), float("-inf"), device=log_probs.device)
    silence[-1] = 0.0
    log_probs = torch.where(behind.to(log_probs.device)[..., None], silence, log_probs)
    return Frames(log_probs, frames.lengths, frames.parted, frames.left_out * ctc_scale)


def _empty(frames: Frames, beam: int) -> _Prefixes:
    """One empty hypothesis per utterance, and no others."""
    device, batch = frames.log_probs.device, len(frames.lengths)
    none = frames.log_probs.new_full((batch, beam), float("-inf"))
    blank = none.clone()
    blank[:, 0] = frames.left_out
    zero = torch.zeros(batch, beam, dtype=torch.int64, device=device)
    labels = zero.new_full((batch, beam, 1), -1)
    return _Prefixes(torch.arange(batch, device=device), blank, none, torch.zeros_like(none), labels, zero, zero - 1)


def _one_frame(
    old: _Prefixes,
    frames: Frames,
    frame: int,
    values: Tensor,
    candidates: Tensor,
    ahead: Tensor | None,
    combine: Callable[[Tensor, Tensor], Tensor],
    prune: float | None,
) -> tuple[_Prefixes, Tensor, Tensor]:
    """Hypotheses after a frame, which one each came from [R, K], and whether it has a new label [R, K].

    values, candidates [R, W]: scores and labels that may begin here; ahead [R, K, V].
    """
    scores = frames.log_probs[:, frame]  # [R, V + 1]
    both = combine(old.blank, old.label)
    parted = frames.parted[:, frame, None]
    ends_blank = torch.where(parted, both, old.blank)
    ends_label = old.label.masked_fill(parted, float("-inf"))

    same = old.last[..., None] == candidates[:, None]  # [R, K, W]: repeats its last label, after a blank only
    longer = torch.where(same, ends_blank[..., None], both[..., None]) + values[:, None]
    parent = _parents(old, both)  # [R, K, K]: of j, the hypothesis without its last label
    last_scores = scores.gather(1, old.last.clamp_min(0))  # [R, K]
    from_parent = torch.where(old.last[..., None] == old.last[:, None], ends_blank[:, None], both[:, None])
    from_parent = (from_parent + last_scores[..., None]).masked_fill(~parent, float("-inf")).amax(-1)
    blank = both + scores[:, -1:]
    label = combine((ends_label + last_scores).masked_fill(old.last < 0, float("-inf")), from_parent)
    there = (parent[..., None] & (old.last[..., None] == candidates[:, None])[:, :, None]).any(1)  # [R, K, W]
    longer = longer.masked_fill(there, float("-inf"))

    total = longer + old.rest[..., None]
    gain = None
    if ahead is not None:
        gain = ahead.gather(-1, candidates[:, None].expand_as(longer))
        total = total + gain
    beam, width = longer.shape[1:]
    totals = torch.cat([combine(blank, label) + old.rest, total.flatten(1)], 1)
    best, chosen = totals.topk(beam)
    kept = best > (float("-inf") if prune is None else best[:, :1] - prune)
    stays = chosen < beam
    place = (chosen - beam).clamp_min(0)  # among the longer ones
    back = torch.where(stays, chosen, place.div(width, rounding_mode="floor"))
    new = kept & ~stays
    added = candidates.gather(1, place % width)
    lengths = old.lengths.gather(1, back)
    labels = old.labels.gather(1, back[..., None].expand(-1, -1, old.labels.shape[-1]))
    slot = torch.arange(labels.shape[-1], device=labels.device) == lengths[..., None]
    nothing = float("-inf")
    rest = old.rest.gather(1, back)
    if gain is not None:
        rest = rest + torch.where(new, gain.flatten(1).gather(1, place), 0.0)
    return (
        _Prefixes(
            old.rows,
            torch.where(stays & kept, blank.gather(1, back), nothing),
            torch.where(stays, label.gather(1, back), longer.flatten(1).gather(1, place)).masked_fill(~kept, nothing),
            rest,
            torch.where(slot & new[..., None], added[..., None], labels),
            lengths + new.long(),
            torch.where(new, added, old.last.gather(1, back)),
        ),
        back,
        new,
    )


def _parents(old: _Prefixes, both: Tensor) -> Tensor:
    """[R, K, K] bool by (j, k): whether j is k with one label more."""
    slots = torch.arange(old.labels.shape[-1], device=both.device)
    shorter = old.labels.masked_fill(slots == (old.lengths - 1)[..., None], -1)
    there = both > float("-inf")
    found = (shorter[:, :, None] == old.labels[:, None]).all(-1) & (old.lengths > 0)[..., None]
    return found & there[..., None] & there[:, None]


def _with_room(hypotheses: _Prefixes, used: int) -> _Prefixes:
    """Room for one label more than the longest has."""
    missing = used + 1 - hypotheses.labels.shape[-1]
    if missing <= 0:
        return hypotheses
    labels = torch.nn.functional.pad(hypotheses.labels, (0, missing), value=-1)
    return _Prefixes(
        *(labels if field.name == "labels" else getattr(hypotheses, field.name) for field in fields(hypotheses))
    )


def _moved(
    scorer: LabelScorer, ahead: Tensor, state: Any, back: Tensor, labels: Tensor, new: Tensor, count: int
) -> tuple[Tensor, Any]:
    """Scores and state of the hypotheses after a frame."""
    rows = torch.arange(len(back), device=back.device)
    if count or bool((back != torch.arange(back.shape[1], device=back.device)).any()):
        ahead, state = ahead[rows[:, None], back], state.gather(rows, back)
    return advance(scorer, ahead, state, labels, new, count)
