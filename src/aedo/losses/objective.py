"""The training objective: cross-entropy of the decoder plus CTC losses of the encoder's heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from aedo.config import Part
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import CtcConfig, ctc_loss
from aedo.model.aed import Outputs
from aedo.model.labels import Labels
from aedo.schedule import Progress, Scheduled, value_at

Normalization = Literal["labels", "sum"]


class LossConfig(Part):
    decoder_scale: float = Field(1.0, ge=0)
    """Weight of the decoder's cross-entropy."""
    label_smoothing: Scheduled = 0.1
    normalization: Normalization = "labels"
    """labels: mean over the labels of the batch; sum: no normalisation."""

    def build(self, ctc: CtcConfig) -> Objective:
        return Objective(self, ctc)


@dataclass(frozen=True)
class LossTerm:
    """One value of a batch: divide sum by count for the mean; sums and counts add up over batches."""

    name: str
    sum: Tensor
    """Scalar, detached, on the model's device."""
    count: int


class Losses(NamedTuple):
    total: Tensor
    """Scalar to differentiate."""
    terms: tuple[LossTerm, ...]
    """`ce`, `ctc_<layer>` (per label) and `ler`, the label error rate."""


class Objective:
    """Total = decoder scale x CE + sum over heads of scale x CTC, each normalised on its own."""

    def __init__(self, config: LossConfig, ctc: CtcConfig) -> None:
        self.config, self.ctc = config, ctc

    def __call__(self, outputs: Outputs, labels: Labels, progress: Progress) -> Losses:
        """`labels` carry no EOS."""
        total = outputs.encoded.states.new_zeros((), dtype=torch.float32)
        terms: list[LossTerm] = []
        if outputs.decoder is not None:
            smoothing = value_at(self.config.label_smoothing, progress)
            ce = cross_entropy(outputs.decoder.logits, outputs.decoder.targets, smoothing).sum()
            count = len(outputs.decoder.targets)
            total = total + self.config.decoder_scale * self._normalized(ce, count)
            errors = (outputs.decoder.logits.detach().argmax(-1) != outputs.decoder.targets).sum()
            terms += [LossTerm("ce", ce.detach(), count), LossTerm("ler", errors, count)]
        targets = labels.with_eos() if self.ctc.eos else labels
        count = int(targets.lengths.sum())
        for layer, logits in outputs.ctc_logits.items():
            log_probs = logits.float().log_softmax(-1)
            loss = ctc_loss(log_probs, outputs.encoded.lengths, targets.ids, targets.lengths).sum()
            total = total + self.ctc.scale(layer) * self._normalized(loss, count)
            terms.append(LossTerm(f"ctc_{layer}", loss.detach(), count))
        return Losses(total, tuple(terms))

    def _normalized(self, loss: Tensor, count: int) -> Tensor:
        return loss / max(count, 1) if self.config.normalization == "labels" else loss
