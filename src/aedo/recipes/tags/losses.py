"""Tags for the CTC heads and the training objective."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag
from aedo.schedule import PiecewiseLinear

SMOOTHING = Range(1e-4, 0.9)
STEPS = Range(1, 1_000_000_000)
SCALES = Range(0, 1000)


@tag("aux{layers:layers}", "aux{layers:layers}ff", layers=Range(1, 1000))
def ctc_layers(e: Experiment, layers: tuple[int, ...]) -> Experiment:
    """CTC heads on these encoder layers (aux48, aux4_8 and aux48ff: on 4 and 8; aux4812: on 12 too).

    Why: the decoder's gradient alone finds no alignment early.  Reported: 8 alone is as good as 4 and 8; 12 alone
    failed to converge with 24gb-v3.
    """
    return e.with_("ctc.layers", layers)


@tag("auxscale{scales:numbers}", scales=SCALES)
def ctc_scales(e: Experiment, scales: tuple[float, ...]) -> Experiment:
    """Weights of the CTC losses, one for all heads or one for each (auxscale01_02 = 0.1 and 0.2).

    Why: the heads are helpers, and may be too loud beside the decoder.  Reported: 0.1 and 0.2 with aedscale07 8.21
    vs 7.01.
    """
    return e.with_("ctc.scales", scales[0] if len(scales) == 1 else scales)


@tag("auxscaleramp{start:number}_{end:number}_{steps:count}", start=SCALES, end=SCALES, steps=STEPS)
def ctc_scale_ramp(e: Experiment, start: float, end: float, steps: int) -> Experiment:
    """Weight of the CTC losses from one value to another (auxscaleramp1_03_100k: from 1 to 0.3 in 100k micro-steps).

    Why: CTC finds the alignment early; later it competes with the decoder.
    """
    return e.with_("ctc.scales", _ramp(start, end, steps))


@tag("aedscale{scale:number}", scale=SCALES)
def decoder_scale(e: Experiment, scale: float) -> Experiment:
    """Weight of the decoder's cross-entropy (aedscale07 = 0.7).

    Why: the balance between decoder and CTC heads.
    """
    return e.with_("loss.decoder_scale", scale)


@tag("aedscaleramp{start:number}_{end:number}_{steps:count}", start=SCALES, end=SCALES, steps=STEPS)
def decoder_scale_ramp(e: Experiment, start: float, end: float, steps: int) -> Experiment:
    """Weight of the decoder's cross-entropy from one value to another (aedscaleramp01_1_20k, in 20k micro-steps).

    Why: before there is an alignment the decoder learns a language model only.
    """
    return e.with_("loss.decoder_scale", _ramp(start, end, steps))


@tag("auxtied")
def shared_ctc_head(e: Experiment) -> Experiment:
    """One CTC head for all its layers instead of one for each.

    Why: the layers have to agree on what a label looks like, and V x D weights are saved per layer.
    """
    return e.with_("ctc.shared", True)


@tag("ctceos")
def ctc_with_eos(e: Experiment) -> Experiment:
    """Append EOS to the targets of CTC, as the original did by mistake.

    Why: parity with its trainings.  Reported for a CTC model: 6.44 vs 6.30 without.
    """
    return e.with_("ctc.eos", True)


@tag("ctconly", after=["n", "aux"])
def ctc_only(e: Experiment) -> Experiment:
    """No decoder: a CTC model, with a head on the top layer beside the others.

    Why: no autoregression: quick recognition, and a baseline for what the decoder adds.  Reported: 6.0 to 6.6 with
    12 layers.
    """
    layers, top = e.ctc.layers, e.encoder.layers
    e = e.with_("search.kind", None).with_("decoder", None)
    return e if top in layers else e.with_("ctc.layers", (*layers, top))


@tag("ctcls{amount:fraction}", amount=SMOOTHING)
def ctc_label_smoothing(e: Experiment, amount: float) -> Experiment:
    """Label smoothing of the CTC heads, blank included (ctcls01 = 0.1).

    Of every frame's posterior probability of a symbol that share goes to the other symbols: by gradient, the value of
    the loss stays.  Why: CTC is overconfident.  Reported: 4.76 vs 5.04 where CTC is the main loss; worse on the heads
    beside a decoder.
    """
    return e.with_("ctc.label_smoothing", amount).with_("ctc.smooth_blank", True)


@tag("ctclsx{amount:fraction}", amount=SMOOTHING)
def ctc_label_smoothing_without_blank(e: Experiment, amount: float) -> Experiment:
    """Label smoothing of the CTC heads among the labels proper; blank keeps its share of every frame (ctclsx01 = 0.1).

    Why: frames of blank stay blank.  Differs from the original's function, which adds the same to every frame.
    """
    return e.with_("ctc.label_smoothing", amount).with_("ctc.smooth_blank", False)


@tag("lsx{amount:fraction}", amount=SMOOTHING)
def label_smoothing_of_words(e: Experiment, amount: float) -> Experiment:
    """Label smoothing of decoder and CTC heads alike, without the symbols that are no words: EOS and blank.

    The reading taken of the original's "exclude blank", which had one distribution over labels and blank.  Why: what
    belongs to no word neither gives nor takes, so that ends and pauses stay sharp.
    """
    e = e.with_("loss.label_smoothing", amount).with_("loss.smooth_eos", False)
    return e.with_("ctc.label_smoothing", amount).with_("ctc.smooth_blank", False)


@tag("lsxx{amount:fraction}", amount=SMOOTHING)
def label_smoothing_of_labels(e: Experiment, amount: float) -> Experiment:
    """Label smoothing of every distribution over labels proper: the decoder's, and the CTC heads' given not blank.

    The original had one network for labels and another for blank, and smoothed the labels' distribution alone.  Our
    heads have one softmax: as gradients, smoothing the labels given not blank and leaving blank out are the same.  EOS
    is a label of the decoder.  Why: whether a frame is blank is no question of labels.  Reported for a transducer on
    Switchboard: 21.7 / 15.2 vs 23.2 / 15.8 (Hub5'00 / 01).
    """
    e = e.with_("loss.label_smoothing", amount).with_("loss.smooth_eos", True)
    return e.with_("ctc.label_smoothing", amount).with_("ctc.smooth_blank", False)


@tag("lossnorm_sum")
def summed_losses(e: Experiment) -> Experiment:
    """Sum the losses over the labels of a batch instead of taking their mean.

    Why: long utterances then count by their length, and the update follows the size of the batch.  Reported:
    diverged with 24gb-v3.
    """
    return e.with_("loss.normalization", "sum")


@tag("lossnorm_frames")
def mean_losses(e: Experiment) -> Experiment:
    """Mean of each loss over the labels of the batch (the reference).

    Why: the loss keeps its scale whatever the batch.
    """
    return e.with_("loss.normalization", "labels")


@tag("lossnorm_seqs")
def losses_per_utterance(e: Experiment) -> Experiment:
    """Sum of each loss over the labels of an utterance, mean over the utterances of the batch.

    Why: ESPnet's way.  Long utterances count for more, and gradients are larger by the mean number of labels, so that
    the limit of their norm takes hold more often.
    """
    return e.with_("loss.normalization", "sequences")


@tag("lossnorm_acc")
def losses_per_update(e: Experiment) -> Experiment:
    """Mean of the losses over the labels of all micro-steps of an update.

    Why: micro-steps count by their labels, as if their batches were one; with the mean of each (the reference) a label
    of a small batch counts for more.  The gradients do not grow with the accumulation.
    """
    return e.with_("loss.normalization", "accumulated")


def _ramp(start: float, end: float, steps: int) -> PiecewiseLinear:
    """From `start` at the first micro-step to `end` after `steps` of them, then constant."""
    return PiecewiseLinear(unit="micro_step", nodes=(steps,), values=(start, end))
