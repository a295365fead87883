"""Label-synchronous search with the CTC prefix score: a decoder's beam search that may not leave the audio.

B batch, R utterances still searched, K hypotheses, W labels considered of each, V labels, U labels so far.

The score of labels y is

    ctc_scale x log p_CTC(y) + sum over i of s(y_i | y_1 .. y_i-1) + s(EOS | y)

with s the scorers' weighted sum and p_CTC the sum over all paths.  While a hypothesis is running its CTC score is that
of all sequences which begin so.  With room for everything the search finds the best score there is.  Source: Watanabe
et al. 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.search.ctc_prefix import CtcPrefix, CtcPrefixState
from aedo.search.hypotheses import NBest, joined, ranked
from aedo.search.largest import largest
from aedo.search.scorer import LabelScorer

_COMPACT = 0.875  # as in aedo.search.beam


@dataclass(frozen=True)
class _Beam:
    rows: Tensor
    """[R] which utterance of the batch each row is."""
    scores: Tensor
    """[R, K] minus infinity: no hypothesis."""
    labels: Tensor
    """[R, K, U] int64."""
    lengths: Tensor
    """[R, K] without EOS."""
    ended: Tensor
    """[R, K] bool."""

    def at(self, rows: Tensor) -> _Beam:
        return _Beam(*(getattr(self, field.name)[rows] for field in fields(self)))


@torch.inference_mode()
def label_search(
    scorer: LabelScorer,
    ctc: CtcPrefix | None,
    limits: Tensor,
    *,
    beam: int,
    ctc_scale: float,
    labels: int | None = None,
    most: float = 0.0,
    whole_beam: bool = True,
) -> NBest:
    """The best hypotheses of every utterance, whatever the batch.

    limits [B] int64 on the CPU: most labels of a hypothesis (CTC allows no more than its frames).  `labels`: so many,
    the best of each hypothesis by a rougher sum, are scored exactly at each step, EOS aside (None: all are).  `most`:
    the most that the scorers can add to a hypothesis in a step (0: they are log probabilities).  Without `whole_beam`
    the search of an utterance ends as soon as no running hypothesis can become the best.  Waits for the device once a
    step.
    """
    state = scorer.start()
    ahead, state = scorer.step(None, state)
    prefix = None if ctc is None else ctc.start()
    device = ahead.device
    beams = _Beam(
        torch.arange(len(limits), device=device),
        torch.zeros(len(limits), 1, device=device),
        torch.zeros(len(limits), 1, 0, dtype=torch.int64, device=device),
        torch.zeros(len(limits), 1, dtype=torch.int64, device=device),
        torch.zeros(len(limits), 1, dtype=torch.bool, device=device),
    )
    steps, over = limits.to(device), torch.zeros(len(limits), dtype=torch.bool)
    finished: list[NBest] = []
    places: list[Tensor] = []
    for step in range(int(limits.max()) + 1 if len(limits) else 0):
        beams, back = _extended(beams, ahead, ctc, prefix, ctc_scale, beam, labels, step < steps)
        done = (_done(beams, most * (steps - step), whole_beam) | (steps <= step)).cpu() | over
        if (done & ~over).any():  # results are taken at once: what the others do must not change them
            out = beams.at((done & ~over).nonzero()[:, 0].to(device))
            scores = out.scores.masked_fill(~out.ended, float("-inf"))
            finished.append(ranked(out.labels, out.lengths, scores, step + 1))
            places.append(out.rows.cpu())
        over, waiting = done, int((~done).sum())
        if not waiting:
            break
        here = torch.arange(len(done), device=device)
        if waiting <= _COMPACT * len(done):
            here = (~done).nonzero()[:, 0].to(device)
            beams, scorer, steps, over = beams.at(here), scorer.select(here), steps[here], over[~done]
            ctc = None if ctc is None else ctc.select(here)
        newest, back = beams.labels[..., -1], back[here]
        if ctc is not None and prefix is not None:
            prefix = ctc.advance(newest, prefix.gather(here, back))
        ahead, state = scorer.step(newest, state.gather(here, back))
    return joined(finished, places)


def _extended(
    old: _Beam,
    ahead: Tensor,
    ctc: CtcPrefix | None,
    prefix: CtcPrefixState | None,
    ctc_scale: float,
    beam: int,
    labels: int | None,
    may_go_on: Tensor,
) -> tuple[_Beam, Tensor]:
    """The best continuations, and which hypothesis each came from ([R, K]).  ahead [R, K, V], may_go_on [R] bool."""
    nothing = float("-inf")
    ahead = ahead.expand(*old.scores.shape, ahead.shape[-1])
    sums = ahead
    if ctc is not None and prefix is not None:
        sums = ahead + ctc_scale * ctc.score_all(prefix).to(ahead.dtype)
    # An ended hypothesis goes on in one way, at no cost; the last step is for EOS alone.
    blocked = (old.ended | ~may_go_on[:, None])[..., None]
    if labels is None or ctc is None or prefix is None:
        others = torch.arange(ahead.shape[-1], device=ahead.device) != EOS
        added = sums.masked_fill(blocked & others, nothing)
        added[..., EOS].masked_fill_(old.ended, 0.0)
        totals = (old.scores[..., None] + added).flatten(1)
        scores, chosen = largest(totals, min(beam, totals.shape[1]))
        back = chosen.div(ahead.shape[-1], rounding_mode="floor")
        label = chosen - back * ahead.shape[-1]
    else:
        best = largest(sums[..., EOS + 1 :], min(labels, ahead.shape[-1] - 1))[1] + EOS + 1
        candidates = torch.nn.functional.pad(best, (1, 0), value=EOS)  # [R, K, 1 + W]
        added = ahead.gather(-1, candidates) + ctc_scale * ctc.score(candidates, prefix).to(ahead.dtype)
        added[..., 1:] = added[..., 1:].masked_fill(blocked, nothing)
        added[..., 0] = added[..., 0].masked_fill(old.ended, 0.0)
        totals = (old.scores[..., None] + added).flatten(1)
        scores, chosen = totals.topk(min(beam, totals.shape[1]))
        back = chosen.div(candidates.shape[-1], rounding_mode="floor")
        label = candidates.flatten(1).gather(1, chosen)
    ended = label == EOS
    history = old.labels.gather(1, back[..., None].expand(-1, -1, old.labels.shape[-1]))
    return (
        _Beam(
            old.rows,
            scores,
            torch.cat([history, label[..., None]], -1),
            old.lengths.gather(1, back) + (~ended).long(),
            ended,
        ),
        back,
    )


def _done(beams: _Beam, most: Tensor, whole_beam: bool) -> Tensor:
    """[R] bool: whether the search of an utterance is over.  most [R]: what a running hypothesis can still gain."""
    nothing = float("-inf")
    running = beams.scores.masked_fill(beams.ended, nothing).amax(1)
    if whole_beam:
        return running == nothing
    return running + most <= beams.scores.masked_fill(~beams.ended, nothing).amax(1)
