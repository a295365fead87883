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

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.errors import UserError
from aedo.model.aed import AED
from aedo.model.chunked_decoder import BEGIN, ChunkedLstmDecoder
from aedo.model.encoder import Encoded
from aedo.model.lstm_decoder import LstmDecoderMemory
from aedo.search.chunk_beam import ChunkBeam, merged
from aedo.search.config import FIELDS, NAMES, Kind, SearchConfig
from aedo.search.ctc_prefix import CtcPrefix, CtcPrefixState
from aedo.search.frames import Frames
from aedo.search.hypotheses import NBest, joined
from aedo.search.largest import largest

__all__ = ["OPEN", "USED", "ChunkBeam", "ChunkSearch", "check_chunked", "chunked_search"]

OPEN = 20
"""Encoder frames (rounded up to chunks) whose labels may still differ between hypotheses."""


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
        return merged(beam, self.open)

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
            labels = torch.cat([end, largest(others, min(wanted, logits.shape[-1] - 1))[1]], -1)
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
