"""Lists of hypotheses under other weights: every part of the score by itself; and lists put in another order by an LM.

B utterances, N hypotheses of all of them together, K hypotheses of each, U labels, T frames, V labels in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.losses.ctc import ctc_loss
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels
from aedo.search.frames import without_label
from aedo.search.fusion import NOTHING, Fusion, LanguageModel
from aedo.search.hypotheses import NBest, ranked
from aedo.search.scorer import LabelScorer, OfDecoder

_ROWS = 64
"""Hypotheses scored together."""
_LISTED = 128
"""By a language model alone."""


class Weights(NamedTuple):
    """Of the parts of the joint score; the fields of `SearchConfig` with the same names."""

    ctc_scale: float
    length_reward: float = 0.0
    lm_scale: float = 0.0
    internal_lm_scale: float = 0.0
    prior_scale: float = 0.0


@dataclass(frozen=True)
class Parts:
    """What the joint score is made of, for hypotheses given; all [N] float64 on the CPU."""

    decoder: Tensor
    """Log probability of the labels with EOS."""
    ctc: Tensor
    """Log probability by CTC, over all paths."""
    labels: Tensor
    """How many, without EOS."""
    lm: Tensor
    """Log probability of the labels with EOS by the language model; 0 without one."""
    internal_lm: Tensor
    """Log probability of the labels by the decoder that hears nothing; 0 where it was not asked for."""
    prior: Tensor
    """Sum of the labels' log prior; 0 without one."""

    def total(self, weights: Weights) -> Tensor:
        """The score of `aedo.search.joint`, [N]."""
        # What CTC rules out may have a score of minus infinity: of no consequence where CTC has no say.
        ctc = weights.ctc_scale * self.ctc if weights.ctc_scale else 0.0
        models = (1.0 - weights.ctc_scale) * self.decoder + ctc + weights.lm_scale * self.lm
        taken = weights.internal_lm_scale * self.internal_lm + weights.prior_scale * self.prior
        return models - taken + weights.length_reward * self.labels

    @classmethod
    def joined(cls, parts: Sequence[Parts]) -> Parts:
        return cls(*(torch.cat([getattr(one, field.name) for one in parts]) for field in fields(cls)))


@torch.inference_mode()
def score_parts(
    model: AED,
    encoded: Encoded,
    hypotheses: Sequence[Sequence[tuple[int, ...]]],
    fusion: Fusion = NOTHING,
    *,
    internal_lm: bool = False,
) -> Parts:
    """The parts for the lists of all utterances [B][...], put behind each other."""
    flat = [(row, labels) for row, found in enumerate(hypotheses) for labels in found]
    log_probs = without_label(model.ctc_log_probs(encoded), EOS).clamp_min(-1e4)
    found: list[Tensor] = []
    for start in range(0, len(flat), _ROWS):
        chunk = flat[start : start + _ROWS]
        rows = torch.tensor([row for row, _ in chunk])
        labels = _padded([ids for _, ids in chunk], encoded.states.device)
        here = encoded.select(rows)
        ctc = -ctc_loss(log_probs[rows.to(log_probs.device)], here.lengths, labels.ids, labels.lengths)
        fits = ctc < 0  # the loss is 0 where the labels do not fit the frames
        ctc = ctc.masked_fill(~fits, float("-inf")).double()
        counts = labels.lengths.to(ctc.device)
        others = _others(model, here, labels, fusion, internal_lm=internal_lm)
        found.append(torch.stack([_decoder(model, here, labels), ctc, counts, *others], 0).cpu())
    return Parts(*(torch.cat(found, 1) if found else torch.zeros(6, 0, dtype=torch.float64)))


def _decoder(model: AED, encoded: Encoded, labels: Labels) -> Tensor:
    """[N] float64, teacher-forced."""
    assert model.decoder is not None
    output = model.decoder(encoded, model.targets(encoded, labels))
    each = output.logits.float().log_softmax(-1).gather(1, output.targets[:, None])[:, 0].double()
    return each.new_zeros(len(labels.lengths)).index_add(0, output.packing.rows, each)


def _others(model: AED, encoded: Encoded, labels: Labels, fusion: Fusion, *, internal_lm: bool) -> list[Tensor]:
    """Language model, internal language model and prior, each [N] float64."""
    device = encoded.states.device
    lm = deaf = prior = torch.zeros(len(labels.lengths), dtype=torch.float64, device=device)
    if fusion.lm is not None:
        lm = sequence_scores(fusion.lm.scorer(len(labels.lengths), device), labels)
    if internal_lm and model.decoder is not None:
        memory = model.decoder.memory(replace(encoded, states=torch.zeros_like(encoded.states)))
        deaf = sequence_scores(OfDecoder(model.decoder, memory, score_eos=False), labels)
    if fusion.log_prior is not None:  # 0 for EOS, which stands behind the end
        prior = fusion.log_prior.to(device)[labels.ids].double().sum(1)
    return [lm, deaf, prior]


def sequence_scores(scorer: LabelScorer, labels: Labels) -> Tensor:
    """The sum of what the scorer of a batch says of the labels and EOS, [B] float64."""
    ids = labels.with_eos().ids
    total = torch.zeros(len(ids), dtype=torch.float64, device=ids.device)
    lengths = labels.lengths.to(ids.device)
    scores, state = scorer.step(None, scorer.start())
    for place in range(ids.shape[1]):
        label = ids[:, place, None]
        here = scores.expand(len(ids), 1, -1).gather(-1, label[..., None])[:, 0, 0].double()
        total = total + here.masked_fill(lengths < place, 0.0)
        if place + 1 < ids.shape[1]:
            scores, state = scorer.step(label, state)
    return total


def rescored(found: NBest, lm: LanguageModel, scale: float, device: torch.device, exponent: float = 0.0) -> NBest:
    """The lists with a language model's log probability added to the scores, the best first.

    `exponent`: of the length by which the scores of the search are divided.
    """
    batch, beam, longest = found.labels.shape
    ids, lengths = found.labels.reshape(-1, longest), found.lengths.flatten()
    ids = ids.masked_fill(torch.arange(longest) >= lengths[:, None], EOS)
    added = torch.zeros(len(ids), dtype=torch.float64)
    there = (found.scores.flatten() > float("-inf")).nonzero()[:, 0]
    by_length = there[lengths[there].argsort(stable=True)]  # those of a length take as many steps
    for rows in torch.split(by_length, _LISTED):
        labels = Labels(ids[rows, : max(1, int(lengths[rows].max()))].to(device), lengths[rows])
        added[rows] = sequence_scores(lm.scorer(len(rows), device), labels).cpu()
    added = added.view(batch, beam)
    scores = found.scores + scale * added / found.lengths.clamp_min(1).double() ** exponent
    scores = scores.masked_fill(found.scores == float("-inf"), float("-inf"))
    return ranked(found.labels, found.lengths, scores, found.steps)


def _padded(sequences: Sequence[tuple[int, ...]], device: torch.device) -> Labels:
    lengths = torch.tensor([len(ids) for ids in sequences])
    ids = torch.full((len(sequences), max(1, int(lengths.max()))), EOS)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    return Labels(ids.to(device), lengths)
