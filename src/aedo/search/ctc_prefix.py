"""The CTC prefix score: the probability that an utterance begins with some labels, whatever follows.

R utterances, T frames, K hypotheses, W labels considered, V labels of the vocabulary; blank = V, the last.

Of a hypothesis y: n_t and b_t, log probabilities that the first t frames give y and end in its last label or a blank.
Then, with p_t the frames' log probabilities and f_t(v) = b_t + n_t (b_t alone where v repeats the last label),

    prefix score of y v  =  log sum over t of  f_t-1(v) p_t(v)

and n, b of y v follow from f by linear recurrences.  Those have a closed form by cumulative sums, so that nothing loops
over the frames; in double precision, since it takes differences of sums over all frames.

Source: Watanabe et al. 2017, algorithm 2; batched, after Seki et al. 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.search.frames import Frames

_IMPOSSIBLE = -1e4
"""In the place of log 0, whose cumulative sums would be undefined."""
_NEVER = 1e4 * _IMPOSSIBLE
"""Of hypotheses with a score of minus infinity: what follows them stays below everything."""


@dataclass(frozen=True)
class CtcPrefixState:
    """Of every hypothesis; frame 0 is before the first."""

    label: Tensor
    """[R, K, T + 1] float64, n."""
    blank: Tensor
    """[R, K, T + 1] float64, b."""
    either: Tensor
    """[R, K, T + 1] float64, both."""
    last: Tensor
    """[R, K] the last label, -1 of the empty hypothesis."""
    score: Tensor
    """[R, K] float64, the prefix score."""

    def gather(self, rows: Tensor, back: Tensor) -> CtcPrefixState:
        """The hypotheses `back` ([R, K'] int64) of the utterances `rows` ([R] int64)."""
        at = (rows[:, None], back)
        return CtcPrefixState(self.label[at], self.blank[at], self.either[at], self.last[at], self.score[at])

    def where(self, taken: Tensor, other: CtcPrefixState) -> CtcPrefixState:
        """These hypotheses where `taken` [R, K], elsewhere the others."""
        pairs = (self.label, other.label), (self.blank, other.blank), (self.either, other.either)
        label, blank, either = (torch.where(taken[..., None], one, two) for one, two in pairs)
        last, score = torch.where(taken, self.last, other.last), torch.where(taken, self.score, other.score)
        return CtcPrefixState(label, blank, either, last, score)


@dataclass(frozen=True)
class CtcPrefix:
    """Scores labels behind the hypotheses of a batch."""

    by_label: Tensor
    """[R, V + 1, T] float32: symbols' log probabilities; after the end, and in one frame more, nothing but blanks."""
    blank_sums: Tensor
    """[R, T + 1] float64, cumulative sums of the blank's, from 0 on."""
    linear: Tensor
    """[R, T, V] probabilities of the labels, to score all of them by one product."""

    @classmethod
    def of(cls, frames: Frames, *, exact: bool = True) -> CtcPrefix:
        """EOS is no symbol of the frames.  Of frames whose blanks were left out the score would be another one.

        `exact`: whether the scores of all labels (`score_all`) are to be exact, in float64.
        """
        log_probs = torch.nn.functional.pad(frames.log_probs.float(), (0, 0, 0, 1)).clamp_min(_IMPOSSIBLE)
        log_probs[..., EOS] = _IMPOSSIBLE
        behind = torch.arange(log_probs.shape[1])[None] >= frames.lengths[:, None]
        silence = torch.full((log_probs.shape[-1],), _IMPOSSIBLE, device=log_probs.device)
        silence[-1] = 0.0
        log_probs = torch.where(behind.to(log_probs.device)[..., None], silence, log_probs)
        blank_sums = torch.nn.functional.pad(log_probs[..., -1].double().cumsum(1), (1, 0))
        linear = (log_probs[..., :-1].double() if exact else log_probs[..., :-1]).exp()
        return cls(log_probs.transpose(1, 2).contiguous(), blank_sums, linear)

    def select(self, rows: Tensor) -> CtcPrefix:
        """For the utterances `rows` ([R] int64)."""
        return CtcPrefix(self.by_label[rows], self.blank_sums[rows], self.linear[rows])

    def start(self) -> CtcPrefixState:
        """One empty hypothesis per utterance."""
        blank = self.blank_sums[:, None]
        last = torch.full((len(blank), 1), -1, device=blank.device)
        never = torch.full_like(blank, float("-inf"))
        return CtcPrefixState(never, blank, blank, last, torch.zeros_like(blank[..., 0]))

    def go_on(self, label: Tensor, blank: Tensor, last: Tensor) -> CtcPrefixState:
        """Hypotheses that go on from frames before these: n and b behind those frames, [R, K], and the last labels."""
        rows = torch.arange(len(label), device=label.device)[:, None]
        label, blank = label.clamp_min(_NEVER), blank.clamp_min(_NEVER)
        here = self.by_label[rows, last.clamp_min(0)].double()  # [R, K, T]
        labels = torch.cat([label[..., None], label[..., None] + here.cumsum(-1)], -1)
        blanks = self.blank_sums[:, None]
        entering = torch.cat([blank[..., None], (labels - blanks)[..., :-1]], -1)
        behind = blanks + entering.logcumsumexp(-1)
        return CtcPrefixState(labels, behind, torch.logaddexp(behind, labels), last, torch.logaddexp(label, blank))

    def score(self, candidates: Tensor, state: CtcPrefixState) -> Tensor:
        """What each candidate [R, K, W] adds to the log probability, [R, K, W] float64; EOS: that of ending here."""
        rows = torch.arange(len(candidates), device=candidates.device)[:, None, None]
        scores = (self._before(candidates, state) + self.by_label[rows, candidates].double()).logsumexp(-1)
        added = torch.where(candidates == EOS, state.either[..., -1:], scores) - state.score[..., None].clamp_min(
            _NEVER
        )
        return added.masked_fill(added < _IMPOSSIBLE / 2, float("-inf"))

    def score_all(self, state: CtcPrefixState) -> Tensor:
        """`score` of all labels, [R, K, V], as exact as was asked for: a sum over frames is a product of matrices.

        In float32 labels that are e^80 times less likely than the hypothesis itself are impossible.
        """
        rows, kind = torch.arange(len(state.last), device=state.last.device)[:, None], self.linear.dtype
        before, base = state.either[..., :-1], state.score[..., None].clamp_min(_NEVER)
        top = before.amax(-1, keepdim=True).clamp_min(_NEVER)
        scores = ((before - top).exp_().to(kind) @ self.linear).log_().add_((top - base).to(kind))
        again = (state.blank[..., :-1] + self.by_label[rows, state.last.clamp_min(EOS)]).logsumexp(-1, keepdim=True)
        scores.scatter_(-1, state.last.clamp_min(EOS)[..., None], (again - base).to(kind))
        scores[..., EOS] = (state.either[..., -1] - base[..., 0]).to(kind)  # also where nothing is to be repeated
        return scores.masked_fill_(scores < _IMPOSSIBLE / 2, float("-inf"))

    def advance(self, labels: Tensor, state: CtcPrefixState) -> CtcPrefixState:
        """The state of the hypotheses with labels [R, K] behind them; an EOS makes it meaningless."""
        rows = torch.arange(len(labels), device=labels.device)[:, None]
        here = self.by_label[rows, labels].double()  # [R, K, T]
        before = self._before(labels[..., None], state)[..., 0, :]
        sums = here.cumsum(-1)
        label = _shifted(sums + (before - sums + here).logcumsumexp(-1))
        blanks = self.blank_sums[:, None]
        blank = _shifted(blanks[..., 1:] + (label - blanks)[..., :-1].logcumsumexp(-1))
        return CtcPrefixState(label, blank, torch.logaddexp(blank, label), labels, (before + here).logsumexp(-1))

    def _before(self, labels: Tensor, state: CtcPrefixState) -> Tensor:
        """f_t, t = 0 .. T - 1, of candidates [R, K, W] -> [R, K, W, T]."""
        repeats = (labels == state.last[..., None])[..., None]
        return torch.where(repeats, state.blank[..., None, :-1], state.either[..., None, :-1])


def _shifted(x: Tensor) -> Tensor:
    """[..., T] -> [..., T + 1]: nothing is possible before the first frame."""
    return torch.nn.functional.pad(x, (1, 0), value=float("-inf"))
