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
    """Weight of the decoder's cross-entropy, and of that of each of its auxiliary heads."""
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
    """`ce`, `ctc_<layer>` (per label) and `ler`, the label error rate; of lower layers of the decoder `ce_<layer>` and
    `ler_<layer>`."""


class Objective:
    """Total = decoder scale x sum of its CE + sum over heads of scale x CTC, each normalised on its own."""

    def __init__(self, config: LossConfig, ctc: CtcConfig) -> None:
        self.config, self.ctc = config, ctc

    def __call__(self, outputs: Outputs, labels: Labels, progress: Progress) -> Losses:
        """`labels` carry no EOS."""
        total = outputs.encoded.states.new_zeros((), dtype=torch.float32)
        terms: list[LossTerm] = []
        if outputs.decoder is not None:
            heads = {"": outputs.decoder.logits} | {f"_{n}": x for n, x in outputs.decoder.auxiliary.items()}
            for suffix, logits in heads.items():
                loss, found = self._decoder_terms(logits, outputs.decoder.targets, suffix, progress)
                total, terms = total + loss, terms + found
        targets = labels.with_eos() if self.ctc.eos else labels
        count = int(targets.lengths.sum())
        for layer, logits in outputs.ctc_logits.items():
            log_probs = logits.float().log_softmax(-1)
            loss = ctc_loss(log_probs, outputs.encoded.lengths, targets.ids, targets.lengths).sum()
            total = total + self.ctc.scale(layer) * self._normalized(loss, count)
            terms.append(LossTerm(f"ctc_{layer}", loss.detach(), count))
        return Losses(total, tuple(terms))

    def _decoder_terms(
        self, logits: Tensor, targets: Tensor, suffix: str, progress: Progress
    ) -> tuple[Tensor, list[LossTerm]]:
        """Scaled cross-entropy and terms of the decoder's output layer, or of an auxiliary one."""
        ce = cross_entropy(logits, targets, value_at(self.config.label_smoothing, progress)).sum()
        errors, count = (logits.detach().argmax(-1) != targets).sum(), len(targets)
        terms = [LossTerm(f"ce{suffix}", ce.detach(), count), LossTerm(f"ler{suffix}", errors, count)]
        return self.config.decoder_scale * self._normalized(ce, count), terms

    def _normalized(self, loss: Tensor, count: int) -> Tensor:
        return loss / max(count, 1) if self.config.normalization == "labels" else loss
