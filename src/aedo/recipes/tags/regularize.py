"""Tags for dropout, zoneout and label smoothing."""

from __future__ import annotations

from typing import Any

from aedo.experiment import Experiment
from aedo.nn.dropout import Share
from aedo.nn.rates import rate_fields
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag
from aedo.schedule import PiecewiseLinear

RATES = Range(0, 0.9)


@tag("posdrop{rate:fraction}", rate=RATES)
def position_dropout(e: Experiment, rate: float) -> Experiment:
    """Dropout on the relative-position encodings of self-attention (posdrop01 = 0.1).

    Why: keeps heads from relying on one exact distance.  Reported: 7.02 vs 7.07 (24gb-v4); part of 24gb-v5 and v6.
    """
    return e.with_("encoder.attention.position.dropout", rate)


@tag("attdrop{rate:fraction}", rate=RATES)
def attention_dropout(e: Experiment, rate: float) -> Experiment:
    """Dropout of the attention weights.

    Why: keeps the output from hanging on single frames.  Reported: 0.0 and 0.2 are worse than the default 0.1.
    """
    return e.with_("encoder.attention.dropout", rate)


@tag("attdropfixbc")
def attention_dropout_per_weight(e: Experiment) -> Experiment:
    """Draw attention dropout for every weight.

    Why: the original drew one mask over the keys for the whole batch.  Reported: 7.02 vs 7.07; part of 24gb-v5 and v6.
    """
    return e.with_("encoder.attention.dropout_share", "none")


@tag("attdropbc")
def attention_dropout_shared(e: Experiment) -> Experiment:
    """Share attention dropout over batch, heads and queries, as the original did before its fix.

    Why: parity with trainings before the fix, and less memory for masks.
    """
    return e.with_("encoder.attention.dropout_share", "all_but_keys")


@tag("drop{rate:fraction}", rate=RATES)
def encoder_dropout(e: Experiment, rate: float) -> Experiment:
    """Dropout of the encoder: behind the front-end, in the feed-forward networks, before every residual sum.

    Why: the first thing to turn up for small corpora and down for large ones.
    """
    return e.with_("encoder.dropout.rate", rate)


@tag("layerdrop{rate:fraction}", rate=RATES)
def layer_drop(e: Experiment, rate: float) -> Experiment:
    """Pass over encoder blocks by chance in training (layerdrop01 = 0.1 for each).

    Why: regularises deep stacks, and a step is quicker by as much.  Source: Fan et al. 2020.  Reported: part of
    ESPnet's E-Branchformer; 0.1 in encoder and decoder of a small model 5.89 vs 5.84, dev-other.
    """
    return e.with_("encoder.layer_drop", rate)


@tag("readoutdrop{rate:fraction}", rate=RATES)
def readout_dropout(e: Experiment, rate: float) -> Experiment:
    """Dropout before the decoder's output layer (the reference: 0.3).

    Why: the read-out is the widest layer of the decoder and overfits first.
    """
    return e.with_("decoder.readout_dropout.rate", rate)


@tag("zonecell{rate:fraction}", rate=RATES)
def zoneout_cell(e: Experiment, rate: float) -> Experiment:
    """Probability that a cell of the decoder's LSTM keeps its old value (the reference: 0.15).

    Why: as dropout, but the memory survives.
    """
    return e.with_("decoder.zone_cell", rate)


@tag("zonehid{rate:fraction}", rate=RATES)
def zoneout_hidden(e: Experiment, rate: float) -> Experiment:
    """Probability that a hidden unit of the decoder's LSTM keeps its old value (the reference: 0.05).

    Why: as dropout, but the state survives.
    """
    return e.with_("decoder.zone_hidden", rate)


@tag("nodropbc", after=["ctconly", "trafodec"])
def unshared_dropout(e: Experiment) -> Experiment:
    """Draw every dropout and zoneout mask per element instead of sharing it over batch and time.

    Why: the shared mask is cheap but correlates the whole batch.  Reported: 7.21 vs 7.19 (24gb-v4-bs30k-accgrad3), no
    gain, more memory.
    """
    return _share(e, "none")


@tag("dropbc_time", after=["ctconly", "trafodec"])
def dropout_shared_over_time(e: Experiment) -> Experiment:
    """Share dropout and zoneout masks over time only: each utterance has its own.

    Why: a unit that is gone for the whole utterance cannot be guessed from the frame beside it.  Source: Gal &
    Ghahramani 2016.
    """
    return _share(e, "time")


def _share(e: Experiment, share: Share) -> Experiment:
    e = e.with_("encoder.dropout.share", share)
    if e.decoder is None:
        return e
    if e.decoder.kind == "transformer":
        return e.with_("decoder.dropout.share", share)
    return e.with_("decoder.readout_dropout.share", share).with_("decoder.zone_share", share)


@tag("ls{amount:fraction}", amount=RATES)
def label_smoothing(e: Experiment, amount: float) -> Experiment:
    """Label smoothing of the decoder's cross-entropy (the reference: 0.1).

    Why: keeps the decoder from being surer than it should, which also helps beam search.  Source: Szegedy et al.
    2016.
    """
    return e.with_("loss.label_smoothing", amount)


STRENGTHS = (
    "loss.label_smoothing",
    "ctc.label_smoothing",
    "augment.specaugment.strength",
    "train.optimizer.weight_decay.value",
    "train.optimizer.weight_decay.encoder",
    "train.optimizer.weight_decay.decoder",
    "train.weight_noise.std",
)
"""What regularises beside dropout."""


@tag("regramp{steps:count}", last=True, after=["pre10"], steps=Range(1, 100_000_000))
def ramped_regularization(e: Experiment, steps: int) -> Experiment:
    """Raise all regularisation from 0 to its configured values over so many micro-steps.

    That is: every rate of dropout, zoneout and weight dropout, label smoothing, the number of SpecAugment's masks,
    weight decay, weight noise.  What follows a schedule of its own keeps it.

    Why: early in a training it hinders convergence.  Source: the reference's older trainings, which began with less
    dropout and without label smoothing and weight decay.
    """
    fields = {**dict(rate_fields(e)), **{path: _value(e, path) for path in STRENGTHS}}
    for path, value in fields.items():
        if isinstance(value, float) and value > 0:
            e = e.with_(path, PiecewiseLinear(nodes=(steps,), values=(0.0, value)))
    return e


def _value(e: Experiment, path: str) -> Any:
    """Of a field; None where there is no such part."""
    value: Any = e
    for name in path.split("."):
        value = None if value is None else getattr(value, name)
    return value
