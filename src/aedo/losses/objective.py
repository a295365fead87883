"""The training objective: cross-entropy of the decoder plus CTC losses of the encoder's heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from aedo.config import Part
from aedo.conventions import EOS
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import CtcConfig, ctc_loss, label_errors
from aedo.losses.ctc_of_logits import ctc_loss_of_logits
from aedo.losses.smoothing import Smoothing
from aedo.model.aed import Outputs
from aedo.model.labels import Labels
from aedo.schedule import Progress, Schedule, value_at

Normalization = Literal["labels", "sequences", "accumulated", "sum"]


class LossConfig(Part):
    decoder_scale: Annotated[float, Field(ge=0)] | Schedule = 1.0
    """Weight of the decoder's cross-entropy, and of that of each of its auxiliary heads."""
    label_smoothing: Smoothing = 0.1
    """Share of each target's probability that goes to the other labels of the decoder, by gradient."""
    smooth_eos: bool = True
    """Whether EOS takes part in the decoder's smoothing, as a target and as one of the other labels."""
    normalization: Normalization = "labels"
    """labels: mean over the labels of the batch; sequences: sum over the labels of an utterance, mean over utterances;
    accumulated: mean over the labels of all micro-steps of an update; sum: no normalisation."""

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
    `ler_<layer>`.  `ler` is that of the decoder given the right labels before; of a CTC model, that of its best paths,
    in evaluation only: finding it waits for the device."""
    labels: int = 0
    """What the total is still to be divided by, summed over the micro-steps of an update; 0: it is divided already.
    Where it is not, it is this number (the batch's labels, EOS counted where there is a decoder) times the mean."""


class Objective:
    """Total = decoder scale x its CE + sum over heads of scale x CTC, each normalised on its own."""

    def __init__(self, config: LossConfig, ctc: CtcConfig) -> None:
        self.config, self.ctc = config, ctc

    def __call__(self, outputs: Outputs, labels: Labels, progress: Progress) -> Losses:
        """`labels` carry no EOS."""
        total = outputs.encoded.states.new_zeros((), dtype=torch.float32)
        terms: list[LossTerm] = []
        utterances = len(labels.lengths)
        if outputs.decoder is not None:
            heads = {"": outputs.decoder.logits} | {f"_{n}": x for n, x in outputs.decoder.auxiliary.items()}
            for suffix, logits in heads.items():
                loss, found = self._decoder_terms(logits, outputs.decoder.targets, suffix, utterances, progress)
                total, terms = total + loss, terms + found
        targets = labels.with_eos() if self.ctc.eos else labels
        count = int(targets.lengths.sum())
        for layer, logits in outputs.ctc_logits.items():
            loss = self._ctc_loss(logits, outputs.encoded.lengths, targets, progress)
            total = total + self.ctc.scale(layer, progress) * self._normalized(loss, count, utterances)
            terms.append(LossTerm(f"ctc_{layer}", loss.detach(), count))
        if outputs.decoder is not None:
            count = len(outputs.decoder.targets)
        elif not torch.is_grad_enabled():
            terms.append(_greedy_errors(outputs, labels))
        if self.config.normalization == "accumulated":
            return Losses(total * count, tuple(terms), count)
        return Losses(total, tuple(terms))

    def _decoder_terms(
        self, logits: Tensor, targets: Tensor, suffix: str, utterances: int, progress: Progress
    ) -> tuple[Tensor, list[LossTerm]]:
        """Scaled cross-entropy and terms of the decoder's output layer, or of an auxiliary one."""
        smoothing, excluded = value_at(self.config.label_smoothing, progress), None if self.config.smooth_eos else EOS
        ce = cross_entropy(logits, targets, smoothing, excluded).sum()
        errors, count = (logits.detach().argmax(-1) != targets).sum(), len(targets)
        terms = [LossTerm(f"ce{suffix}", ce.detach(), count), LossTerm(f"ler{suffix}", errors, count)]
        return value_at(self.config.decoder_scale, progress) * self._normalized(ce, count, utterances), terms

    def _ctc_loss(self, logits: Tensor, lengths: Tensor, targets: Labels, progress: Progress) -> Tensor:
        """Summed over the batch."""
        smoothing, blank = value_at(self.ctc.label_smoothing, progress), self.ctc.smooth_blank
        if smoothing == 0.0:
            return ctc_loss_of_logits(logits, lengths, targets.ids, targets.lengths).sum()
        log_probs = logits.float().log_softmax(-1)
        return ctc_loss(log_probs, lengths, targets.ids, targets.lengths, smoothing=smoothing, smooth_blank=blank).sum()

    def _normalized(self, loss: Tensor, labels: int, utterances: int) -> Tensor:
        """A loss summed over the batch, as it enters the total."""
        if self.config.normalization == "sum":
            return loss
        return loss / max(utterances if self.config.normalization == "sequences" else labels, 1)


def _greedy_errors(outputs: Outputs, labels: Labels) -> LossTerm:
    """Label errors of the best paths of the head used for recognition."""
    logits = list(outputs.ctc_logits.values())[-1]
    errors = label_errors(logits, outputs.encoded.lengths, labels.ids, labels.lengths)
    return LossTerm("ler", logits.new_tensor(errors, dtype=torch.float32), int(labels.lengths.sum()))
