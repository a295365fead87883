"""Label-synchronous beam search of the attention decoder, batched over utterances and hypotheses.

B batch, R utterances still searched, K hypotheses, W continuations considered of each, V labels, U labels so far.

Step i (from 1) adds the i-th label, EOS included, to all hypotheses at once.  A hypothesis ends with EOS, or at its
utterance's limit (then without its last label).  With exponent e, hypotheses that ended with n labels are compared as
S / (n - 1)^e with running ones as S / (i - 1)^e: the length does not count EOS, and 1 stands for 0.  Source: the
reference's model_recog, which multiplies the scores of ended hypotheses by (i / (i - 1))^e after each step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.search.hypotheses import NBest
from aedo.search.largest import largest
from aedo.search.scorer import LabelScorer, M, S, Scorer

_COMPACT = 0.875
"""Finished utterances leave the batch once no more than this share is still running: leaving copies the memory."""


@torch.inference_mode()
def beam_search(
    scorer: Scorer[M, S],
    memory: M,
    limits: Tensor,
    *,
    beam: int,
    length_normalization: float,
    added: LabelScorer | None = None,
) -> NBest:
    """The best hypotheses of every utterance, scored S / max(labels without EOS, 1)^e whatever the batch.

    S is the decoder's log probability, with what `added` says of each label.  limits [B] int64, on the CPU: steps after
    which an utterance's hypotheses are cut off (the reference: its encoder frames).  Waits for the device once a step,
    to see which utterances are done.
    """
    logits, state = scorer.step(memory, None, scorer.start(memory))
    extra: Tensor | None = None
    if added is not None:
        extra, extra_state = added.step(None, added.start())
    hypotheses = _empty(limits.to(logits.device))
    last, step = max(1, int(limits.max())), 0
    finished: list[_Beam] = []
    while True:
        step += 1
        hypotheses, back = _extend(hypotheses, logits, step, beam, extra)
        ended = hypotheses.ended.all(1)
        done = ended.cpu() if step < last else torch.ones(len(ended), dtype=torch.bool)
        waiting = int((~done).sum())
        here = torch.arange(len(done), device=logits.device)
        if waiting <= _COMPACT * len(done):
            finished.append(
                hypotheses.at(done.nonzero()[:, 0].to(logits.device)).normalized(step, length_normalization)
            )
            if not waiting:
                return _collect(finished, step)
            here = (~done).nonzero()[:, 0].to(logits.device)
            hypotheses, memory = hypotheses.at(here), memory.select(here)
            added = None if added is None else added.select(here)
        hypotheses = hypotheses.rescaled(step, length_normalization)
        newest, back = hypotheses.labels[..., -1], back[here]
        logits, state = scorer.step(memory, newest, state.gather(here, back))
        if added is not None:
            extra, extra_state = added.step(newest, extra_state.gather(here, back))


def reference_scores(found: NBest, length_normalization: float) -> Tensor:
    """[B, K] as the reference prints them: its last factor is 1 / steps^e where (1 / (steps - 1))^e would be right."""
    factor: float = (max(found.steps - 1, 1) / found.steps) ** length_normalization
    return found.scores * factor


@dataclass(frozen=True)
class _Beam:
    """Running and ended hypotheses of the utterances still searched."""

    rows: Tensor
    """[R] int64: which utterance of the batch each row is."""
    limits: Tensor
    """[R] int64."""
    scores: Tensor
    """[R, K] float32, in the scale of the current step; minus infinity: no hypothesis."""
    labels: Tensor
    """[R, K, U] int64."""
    lengths: Tensor
    """[R, K] int64: labels that count."""
    ended: Tensor
    """[R, K] bool."""

    def at(self, rows: Tensor) -> _Beam:
        return _Beam(*(getattr(self, field.name)[rows] for field in fields(self)))

    def rescaled(self, step: int, exponent: float) -> _Beam:
        """Scores for the comparison in the next step."""
        if step == 1:
            return self
        factor: float = (step / (step - 1)) ** exponent
        return replace(self, scores=torch.where(self.ended, self.scores * factor, self.scores))

    def normalized(self, step: int, exponent: float) -> _Beam:
        """Scores of utterances whose hypotheses have all ended, free of the step's scale."""
        return replace(self, scores=self.scores / max(step - 1, 1) ** exponent)


def _empty(limits: Tensor) -> _Beam:
    """One empty hypothesis per utterance."""
    single = (len(limits), 1)
    return _Beam(
        torch.arange(len(limits), device=limits.device),
        limits,
        limits.new_zeros(single, dtype=torch.float32),
        limits.new_zeros(*single, 0),
        limits.new_zeros(single),
        limits.new_zeros(single, dtype=torch.bool),
    )


def _extend(old: _Beam, logits: Tensor, step: int, beam: int, extra: Tensor | None) -> tuple[_Beam, Tensor]:
    """The best continuations, and which hypothesis each came from ([R, K]).  logits, extra [R, K, V].

    The best of all K x V are among the best of each hypothesis: the large sort stays within V.  Overwrites the logits.
    """
    logits = logits.float()
    values, labels = largest(logits if extra is None else logits + extra, min(beam, logits.shape[-1]))  # [R, K, W]
    best = values[..., :1] if extra is None else logits.amax(-1, keepdim=True)
    log_probs = values - best - logits.sub_(best).exp_().sum(-1, keepdim=True).log()
    ended = old.ended[..., None]
    log_probs = log_probs.masked_fill(ended, float("-inf"))  # an ended hypothesis goes on in one way, at no cost:
    log_probs[..., :1] = torch.where(ended, 0.0, log_probs[..., :1])
    labels = labels.masked_fill(ended, EOS)

    totals = (old.scores[..., None] + log_probs).flatten(1)  # [R, K W]
    scores, chosen = totals.topk(min(beam, totals.shape[1]), -1)
    back = chosen.div(labels.shape[-1], rounding_mode="floor")
    label = labels.flatten(1).gather(1, chosen)
    ended_now = old.ended.gather(1, back) | (label == EOS) | (old.limits <= step)[:, None]
    history = old.labels.gather(1, back[..., None].expand(-1, -1, old.labels.shape[-1]))
    extended = replace(
        old,
        scores=scores,
        labels=torch.cat([history, label[..., None]], -1),
        lengths=old.lengths.gather(1, back) + (~ended_now).long(),
        ended=ended_now,
    )
    return extended, back


def _collect(finished: list[_Beam], steps: int) -> NBest:
    """Parts of the batch, finished at different steps, put back in order."""
    batch = sum(len(part.rows) for part in finished)
    width = max(part.scores.shape[1] for part in finished)
    labels = torch.full((batch, width, steps), EOS)
    lengths = torch.zeros(batch, width, dtype=torch.int64)
    scores = torch.full((batch, width), float("-inf"))
    for part in finished:
        rows = part.rows.cpu()
        _, beam, count = part.labels.shape
        labels[rows, :beam, :count] = part.labels.cpu()
        lengths[rows, :beam] = part.lengths.cpu()
        scores[rows, :beam] = part.scores.cpu()
    return NBest(labels, lengths, scores, steps)
