"""Lists of hypotheses under other weights: every part of the joint score by itself.

B utterances, N hypotheses of all of them together, U labels, T frames, V labels of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.losses.ctc import ctc_loss
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels
from aedo.search.frames import without_label

_ROWS = 64
"""Hypotheses scored together."""


@dataclass(frozen=True)
class Parts:
    """What the joint score is made of, for hypotheses given; all [N] float64 on the CPU."""

    decoder: Tensor
    """Log probability of the labels with EOS."""
    ctc: Tensor
    """Log probability by CTC, over all paths."""
    labels: Tensor
    """How many, without EOS."""

    def total(self, ctc_scale: float, length_reward: float) -> Tensor:
        """The score of `aedo.search.joint`, [N]."""
        ctc = ctc_scale * self.ctc if ctc_scale else 0.0  # what CTC rules out may have a score of minus infinity
        return (1.0 - ctc_scale) * self.decoder + ctc + length_reward * self.labels


@torch.inference_mode()
def score_parts(model: AED, encoded: Encoded, hypotheses: Sequence[Sequence[tuple[int, ...]]]) -> Parts:
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
        ctc = ctc.masked_fill(~fits, float("-inf"))
        found.append(torch.stack([_decoder(model, here, labels), ctc.double(), labels.lengths.to(ctc.device)], 0).cpu())
    decoder, ctc, lengths = torch.cat(found, 1) if found else torch.zeros(3, 0, dtype=torch.float64)
    return Parts(decoder, ctc, lengths)


def _decoder(model: AED, encoded: Encoded, labels: Labels) -> Tensor:
    """[N] float64, teacher-forced."""
    assert model.decoder is not None
    output = model.decoder(encoded, labels.with_eos())
    each = output.logits.float().log_softmax(-1).gather(1, output.targets[:, None])[:, 0].double()
    return each.new_zeros(len(labels.lengths)).index_add(0, output.packing.rows, each)


def _padded(sequences: Sequence[tuple[int, ...]], device: torch.device) -> Labels:
    lengths = torch.tensor([len(ids) for ids in sequences])
    ids = torch.full((len(sequences), max(1, int(lengths.max()))), EOS)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    return Labels(ids.to(device), lengths)
