"""What the search of a streaming model carries from chunk to chunk.

S streams (or utterances), K hypotheses, U labels so far; end of chunk = EOS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.model.lstm_decoder import LstmDecoderState
from aedo.search.hypotheses import NBest, ranked

_FACTOR = 6364136223846793005
"""Of the keys by which hypotheses with the same labels are found: each is a number of 64 bits made of all labels."""


@dataclass(frozen=True)
class ChunkBeam:
    """The hypotheses of some streams behind a chunk: all that a search carries on.  Every tensor starts with [S, K]."""

    scores: Tensor
    """[S, K] float32, the best first, which has 0: log probability of labels and ends of chunks, relative to it; minus
    infinity: no hypothesis."""
    passed: Tensor
    """[S, K] float64, log probability of the best hypothesis: a sum of hours would lose in float32 what tells two
    apart."""
    labels: Tensor
    """[S, K, U] int64, ends of chunks left out; EOS behind the end."""
    chunks: Tensor
    """[S, K, U] int64, the number (from 0) of the chunk in which each was said."""
    lengths: Tensor
    """[S, K] int64, how many labels there are."""
    keys: Tensor
    """[S, K] int64, equal where the labels are."""
    pending: Tensor
    """[S, K] int64, what was said last and the decoder has not heard yet: EOS, or BEGIN before the first chunk."""
    newest: Tensor
    """[S, K] int64, the last label that is no end of a chunk; -1: none."""
    heard: Tensor
    """[S, K] int64, chunks so far."""
    ctc_label: Tensor
    """[S, K] float64, log probability that the CTC frames so far give the labels, and end in the last label."""
    ctc_blank: Tensor
    """[S, K] float64, the same, and end in a blank."""
    state: LstmDecoderState

    def select(self, rows: Tensor) -> ChunkBeam:
        """The streams at `rows` ([R] int64 on the model's device)."""
        back = torch.arange(self.scores.shape[1], device=rows.device).expand(len(rows), -1)
        return self._at(rows, back)

    def gather(self, back: Tensor) -> ChunkBeam:
        """The hypotheses `back` [S, K'] of every stream."""
        return self._at(torch.arange(len(back), device=back.device), back)

    def _at(self, rows: Tensor, back: Tensor) -> ChunkBeam:
        tensors = {name: getattr(self, name)[rows[:, None], back] for name in _TENSORS}
        return ChunkBeam(state=self.state.gather(rows, back), **tensors)

    def grown(self, back: Tensor, scores: Tensor, label: Tensor, state: LstmDecoderState) -> ChunkBeam:
        """The hypotheses `back` [S, K'] with a label more ([S, K'], EOS: none), and their new scores and states."""
        old = self.gather(back)
        ends = label == EOS
        room = torch.nn.functional.pad(old.labels, (0, 1)), torch.nn.functional.pad(old.chunks, (0, 1))
        at = old.lengths[..., None]
        labels = room[0].scatter(2, at, torch.where(ends, EOS, label)[..., None])
        chunks = room[1].scatter(2, at, torch.where(ends, 0, old.heard)[..., None])
        lengths = old.lengths + ~ends
        longest = int(lengths.max())
        return replace(
            old,
            scores=scores,
            labels=labels[..., :longest],
            chunks=chunks[..., :longest],
            lengths=lengths,
            keys=torch.where(ends, old.keys, (old.keys + label) * _FACTOR + 1),
            pending=label,
            newest=torch.where(ends, old.newest, label),
            state=state,
        )

    def nbest(self) -> NBest:
        """The hypotheses with their labels alone, the best first."""
        return ranked(self.labels, self.lengths, (self.passed + self.scores).float(), self.labels.shape[-1])

    def agreed(self) -> Tensor:
        """[S] int64: labels at the start that all hypotheses of a stream share; what comes later cannot change them."""
        possible = (self.scores > float("-inf"))[..., None]
        there = torch.arange(self.labels.shape[-1], device=self.labels.device) < self.lengths[..., None]
        same = ((self.labels == self.labels[:, :1]) & there) | ~possible
        return same.all(1).long().cumprod(1).sum(1)

    def without(self, counts: Tensor) -> ChunkBeam:
        """Without the first labels, as many as counts [S]: of a long stream only what is still open need be kept."""
        width = self.labels.shape[-1]
        at = (torch.arange(width, device=counts.device) + counts[:, None, None]).clamp(max=width)  # [S, 1, U]
        at = at.expand_as(self.labels)
        lengths = (self.lengths - counts[:, None]).clamp_min(0)
        labels = torch.nn.functional.pad(self.labels, (0, 1)).gather(2, at)
        chunks = torch.nn.functional.pad(self.chunks, (0, 1)).gather(2, at)
        left = int(lengths.max())
        return replace(self, labels=labels[..., :left], chunks=chunks[..., :left], lengths=lengths)

    @classmethod
    def joined(cls, beams: Sequence[ChunkBeam]) -> ChunkBeam:
        """Streams of several beams as one batch."""
        hypotheses = max(beam.scores.shape[1] for beam in beams)
        width = max(beam.labels.shape[-1] for beam in beams)
        padded = [beam._padded(hypotheses, width) for beam in beams]
        state = LstmDecoderState.joined([beam.state for beam in padded])
        return cls(state=state, **{name: torch.cat([getattr(beam, name) for beam in padded]) for name in _TENSORS})

    def _padded(self, hypotheses: int, width: int) -> ChunkBeam:
        """With room for more hypotheses (of no probability) and labels."""
        there = self.scores.shape[1]
        back = torch.arange(hypotheses, device=self.scores.device)
        wide = self.gather(back.clamp(max=there - 1).expand(len(self.scores), -1))
        pads = (0, width - self.labels.shape[-1])
        labels, chunks = (torch.nn.functional.pad(x, pads) for x in (wide.labels, wide.chunks))
        return replace(wide, scores=wide.scores.masked_fill(back >= there, float("-inf")), labels=labels, chunks=chunks)


_TENSORS = tuple(field.name for field in fields(ChunkBeam) if field.name != "state")


def merged(beam: ChunkBeam, chunks: int) -> ChunkBeam:
    """Hypotheses with the same labels made one, in the place of the best of them, and sorted again.

    Those that differ from the best one in front of the last `chunks` chunks are gone.
    """
    possible = beam.scores > float("-inf")
    same = (beam.keys[:, :, None] == beam.keys[:, None]) & possible[:, :, None] & possible[:, None]  # [S, K, K]
    here = torch.arange(beam.keys.shape[1], device=beam.keys.device)
    first = same & (here[:, None] > here)  # a better one stands before
    gone = first.any(2) | ~possible

    def summed(x: Tensor) -> Tensor:  # [S, K] -> [S, K], over those with the same labels
        return torch.where(same, x[:, None], float("-inf")).logsumexp(2).masked_fill(gone, float("-inf"))

    scores = summed(beam.scores)
    best, at = scores.max(1, keepdim=True)
    scores = scores.masked_fill(~_alike(beam, at, chunks), float("-inf"))
    order = scores.argsort(dim=1, descending=True, stable=True)
    order = order[:, : max(1, int((scores > float("-inf")).sum(1).max()))]
    merged = replace(
        beam,
        scores=scores - best,
        passed=beam.passed + best,
        ctc_label=summed(beam.ctc_label),
        ctc_blank=summed(beam.ctc_blank),
    )
    return merged.gather(order)


def _alike(beam: ChunkBeam, best: Tensor, chunks: int) -> Tensor:
    """[S, K] bool: which hypotheses have the same labels as the best one ([S, 1]) in front of the last chunks."""
    at = best[..., None].expand(-1, -1, beam.labels.shape[-1])
    there = torch.arange(at.shape[-1], device=at.device) < beam.lengths.gather(1, best)[..., None]
    decided = there & (beam.chunks.gather(1, at) < beam.heard[:, :1, None] - chunks)  # [S, 1, U]
    same = (beam.labels == beam.labels.gather(1, at)) | ~decided
    return same.all(2) & (beam.lengths >= decided.sum(2))
