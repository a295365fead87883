"""Tags for the CTC heads and the training objective."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag


@tag("aux{layers:layers}", "aux{layers:layers}ff", layers=Range(1, 1000))
def ctc_layers(e: Experiment, layers: tuple[int, ...]) -> Experiment:
    """CTC heads on these encoder layers (aux48, aux4_8 and aux48ff: on 4 and 8; aux4812: on 12 too).

    Why: the decoder's gradient alone finds no alignment early.  Reported: 8 alone is as good as 4 and 8; 12 alone
    failed to converge with 24gb-v3.
    """
    return e.with_("ctc.layers", layers)


@tag("auxscale{scales:numbers}", scales=Range(0, 1000))
def ctc_scales(e: Experiment, scales: tuple[float, ...]) -> Experiment:
    """Weights of the CTC losses, one for all heads or one for each (auxscale01_02 = 0.1 and 0.2).

    Reported: 0.1 and 0.2 with aedscale07 8.21 vs 7.01.
    """
    return e.with_("ctc.scales", scales[0] if len(scales) == 1 else scales)


@tag("aedscale{scale:number}", scale=Range(0, 1000))
def decoder_scale(e: Experiment, scale: float) -> Experiment:
    """Weight of the decoder's cross-entropy (aedscale07 = 0.7)."""
    return e.with_("loss.decoder_scale", scale)


@tag("ctceos")
def ctc_with_eos(e: Experiment) -> Experiment:
    """Append EOS to the targets of CTC, as the original did by mistake.

    Why: parity with its trainings.  Reported for a CTC model: 6.44 vs 6.30 without.
    """
    return e.with_("ctc.eos", True)


@tag("ctconly", after=["n", "aux"])
def ctc_only(e: Experiment) -> Experiment:
    """No decoder: a CTC model, with a head on the top layer beside the others.

    Reported: 6.0 to 6.6 with 12 layers.
    """
    layers, top = e.ctc.layers, e.encoder.layers
    e = e.with_("decoder", None)
    return e if top in layers else e.with_("ctc.layers", (*layers, top))


@tag("lossnorm_sum")
def summed_losses(e: Experiment) -> Experiment:
    """Sum the losses over the labels of a batch instead of taking their mean.  Reported: diverged with 24gb-v3."""
    return e.with_("loss.normalization", "sum")


@tag("lossnorm_frames")
def mean_losses(e: Experiment) -> Experiment:
    """Mean of each loss over the labels of the batch (the reference)."""
    return e.with_("loss.normalization", "labels")
