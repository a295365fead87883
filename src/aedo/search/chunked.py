"""Beam search of a streaming model, chunk by chunk: what offline recognition and streams both do.

S streams (or utterances), K hypotheses, W continuations considered of each, T kept frames of a chunk, V labels,
U labels so far; end of chunk = EOS.

In every chunk all hypotheses are extended label by label until each has said that the chunk ends; then they wait for
the next one.  So hypotheses that are compared have heard the same, nothing looks ahead, and a search over an utterance
does the same whether all its chunks are there or come one by one.  Hypotheses that have come to the same labels in
different chunks become one, with the sum of their probabilities.

Hypotheses that differ from the best one in labels of long ago are given up: what was said more than about a second ago
is decided.  So words of a stream become final after a bounded time, and what it carries stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.errors import UserError
from aedo.model.aed import AED
from aedo.model.chunked_decoder import BEGIN, ChunkedLstmDecoder
from aedo.model.encoder import Encoded
from aedo.model.lstm_decoder import LstmDecoderMemory, LstmDecoderState
from aedo.search.config import FIELDS, NAMES, Kind, SearchConfig
from aedo.search.ctc_prefix import CtcPrefix, CtcPrefixState
from aedo.search.frames import Frames
from aedo.search.hypotheses import NBest, joined, ranked

OPEN = 20
"""Encoder frames (rounded up to chunks) whose labels may still differ between hypotheses."""
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


class ChunkSearch:
    """Moves beams chunk by chunk, by the decoder and, with a scale, the CTC prefix score.

    A path of CTC belongs to a hypothesis where every label begins in the chunk in which the hypothesis has it.
    """

    def __init__(self, model: AED, config: SearchConfig, kind: Kind) -> None:
        """kind: attention, or joint, with the last CTC head, too.  UserError where it asks for what cannot be."""
        check_chunked(config, kind)
        assert isinstance(model.decoder, ChunkedLstmDecoder)
        joint = kind == "joint"
        self.model, self.decoder = model, model.decoder
        self.beam, self.considered = config.beam, config.considered
        self.ctc_scale, self.length_reward = config.ctc_scale if joint else 0.0, config.length_reward
        self.open = -(-OPEN // self.decoder.frames)
        """Chunks whose labels may still differ."""

    def start(self, streams: int) -> ChunkBeam:
        """Streams that have heard nothing."""
        state = self.decoder.fresh(streams)
        zeros = torch.zeros(streams, 1, dtype=torch.int64, device=state.context.device)
        empty, nothing = zeros[..., None][..., :0], torch.zeros(streams, 1, device=zeros.device)
        never = torch.full_like(nothing, float("-inf"), dtype=torch.float64)
        return ChunkBeam(
            scores=nothing,
            passed=torch.zeros_like(never),
            labels=empty,
            chunks=empty,
            lengths=zeros,
            keys=zeros,
            pending=torch.full_like(zeros, BEGIN),
            newest=torch.full_like(zeros, -1),
            heard=zeros,
            ctc_label=never,
            ctc_blank=torch.zeros_like(never),
            state=state,
        )

    @torch.inference_mode()
    def advance(self, encoded: Encoded, beam: ChunkBeam) -> ChunkBeam:
        """Hear one chunk of every stream: encoded.states [S, T, D] and what belongs to them.

        A chunk has at most T labels.  Waits for the device once a label, to see whether all hypotheses have ended it.
        """
        memory = self.decoder.memory(encoded).chunks  # [S, 1, T, ...]
        ctc = state = None
        if self.ctc_scale:
            ctc = CtcPrefix.of(Frames.of(self.model.ctc_log_probs(encoded), encoded.lengths))
            state = ctc.go_on(beam.ctc_label, beam.ctc_blank, beam.newest)
        entered = self.decoder.entered(beam.state, torch.ones_like(beam.pending, dtype=torch.bool))
        running = _Running(replace(beam, state=entered), torch.zeros_like(beam.pending, dtype=torch.bool), state)
        for labels in range(self.decoder.frames + 1):
            running = self._extended(running, memory, ctc, only_end=labels == self.decoder.frames)
            if bool(running.ended.all()):
                break
        beam = replace(running.beam, heard=running.beam.heard + 1)
        if running.ctc is not None:
            at = encoded.lengths.to(beam.heard.device)[:, None, None].expand(*beam.heard.shape, 1)
            label, blank = (x.gather(2, at)[..., 0] for x in (running.ctc.label, running.ctc.blank))
            beam = replace(beam, ctc_label=label, ctc_blank=blank)
        return _merged(beam, self.open)

    def _extended(
        self, running: _Running, memory: LstmDecoderMemory, ctc: CtcPrefix | None, *, only_end: bool
    ) -> _Running:
        """One label more, or the end of the chunk, of all hypotheses that have not ended it."""
        old, ended = running.beam, running.ended[..., None]
        logits, state = self.decoder.step_in(memory, old.pending, old.state)
        scores, labels = self._scored(logits.float(), running.ctc, ctc, only_end=only_end)  # [S, K, W]
        scores = scores.masked_fill(ended, float("-inf"))  # one that has ended goes on in one way, at no cost:
        scores[..., :1] = torch.where(ended, 0.0, scores[..., :1])
        labels = labels.masked_fill(ended, EOS)

        totals = (old.scores[..., None] + scores).flatten(1)  # [S, K W]
        best, chosen = totals.topk(min(self.beam, totals.shape[1]), -1)
        back = chosen.div(labels.shape[-1], rounding_mode="floor")
        label = labels.flatten(1).gather(1, chosen)
        rows = torch.arange(len(back), device=back.device)
        state = state.where(~running.ended, old.state).gather(rows, back)
        ends = label == EOS
        after = running.ctc
        if ctc is not None and after is not None:
            after = after.gather(rows, back)
            after = ctc.advance(label, after).where(~ends, after)
        return _Running(old.grown(back, best, label, state), ends, after)

    def _scored(
        self, logits: Tensor, state: CtcPrefixState | None, ctc: CtcPrefix | None, *, only_end: bool
    ) -> tuple[Tensor, Tensor]:
        """Continuations worth considering and their scores, [S, K, W] each; the end of the chunk is the first."""
        log_probs = logits.log_softmax(-1)
        end = torch.full_like(log_probs[..., :1], EOS, dtype=torch.int64)
        labels = end
        if not only_end:
            wanted = self.beam if ctc is None else self.considered or logits.shape[-1]
            others = log_probs.index_fill(-1, end.flatten()[:1], float("-inf"))
            labels = torch.cat([end, others.topk(min(wanted, logits.shape[-1] - 1), -1).indices], -1)
        scores = log_probs.gather(-1, labels)
        if ctc is not None and state is not None:
            scores = (1.0 - self.ctc_scale) * scores + self.ctc_scale * ctc.score(labels, state).float()
        if self.length_reward:
            scores = scores + self.length_reward * (labels != EOS)
        return scores, labels


@dataclass(frozen=True)
class _Running:
    """Hypotheses within a chunk."""

    beam: ChunkBeam
    ended: Tensor
    """[S, K] bool: which have said that the chunk ends."""
    ctc: CtcPrefixState | None


def _merged(beam: ChunkBeam, chunks: int) -> ChunkBeam:
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


USED = ("kind", "beam", "ctc_scale", "considered", "length_reward", "max_samples", "max_utterances")
"""Fields of the configuration that this search looks at; of the others of the joint search it knows nothing."""


def check_chunked(config: SearchConfig, kind: Kind) -> None:
    """UserError where a search of a streaming model is asked for what it does not know."""
    if kind not in ("attention", "joint"):
        name = next(name for name, value in NAMES.items() if value == kind)
        raise UserError(f"--search {name}: not there for streaming models; use joint, attention, ctc or ctc-prefix")
    fresh = SearchConfig()
    for field in FIELDS[kind]:
        value = getattr(config, field)
        if field not in (*USED, "length_normalization", "whole_beam") and value != getattr(fresh, field):
            raise UserError(f"search.{field} {value}: the search of streaming models does not know it; leave it out")


@torch.inference_mode()
def chunked_search(model: AED, encoded: Encoded, config: SearchConfig, kind: Kind) -> NBest:
    """The same over whole utterances, encoded by `AED.encode`: all of them at once, chunk by chunk."""
    search = ChunkSearch(model, config, kind)
    frames = search.decoder.frames
    counts = (-(-encoded.lengths // frames)).clamp_min(1)
    order = counts.argsort(descending=True, stable=True)
    beam, finished, places = search.start(len(counts)), list[NBest](), list[Tensor]()
    encoded, counts = encoded.select(order), counts[order]
    for number in range(int(counts[0])):
        running = int((counts > number).sum())
        if running < len(beam.scores):  # some utterances have ended
            still = torch.arange(len(beam.scores), device=beam.scores.device)
            finished.append(beam.select(still[running:]).nbest())
            places.append(order[running : len(still)])
            beam = beam.select(still[:running])
        beam = search.advance(_chunk(encoded, number, running, frames), beam)
    return joined([*finished, beam.nbest()], [*places, order[: len(beam.scores)]])


def _chunk(encoded: Encoded, number: int, utterances: int, frames: int) -> Encoded:
    """That chunk of the first utterances."""
    part = slice(number * frames, (number + 1) * frames)
    layers = {layer: states[:utterances, part] for layer, states in encoded.layers.items()}
    lengths = (encoded.lengths[:utterances] - number * frames).clamp(0, frames)
    return Encoded(encoded.states[:utterances, part], lengths, encoded.mask[:utterances, part], layers)
