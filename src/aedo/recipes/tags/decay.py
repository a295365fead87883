"""Tags for weight decay: how much, and on which parameters."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag


@tag("wd{value:number}", value=Range(0, 1))
def weight_decay(e: Experiment, value: float) -> Experiment:
    """Weight decay (wd1e_3 = 0.001; the bases have 1e-6), apart from the gradient with adamw, added to it with others.

    Why: keeps weights small; the larger the model, the more of it helps.  Reported: 7.01 with 1e-3 (24gb-v3); with
    a Transformer decoder 5.84 at 1e-4, 5.73 at 1e-3, 5.65 at 1e-2, 6.36 at 1e-1.
    """
    return e.with_("train.optimizer.weight_decay.value", value)


@tag("wdblacklist")
def spare_norms_from_decay(e: Experiment) -> Experiment:
    """No weight decay on norms, embeddings and position tables.

    Why: a norm's scale and a table's rows are no weights of a linear map.  Reported: 7.07; part of 24gb-v4.
    """
    kinds = ("batch_norm", "layer_norm", "embedding", "relative_position")
    return e.with_("train.optimizer.weight_decay.exclude", kinds)


@tag("wdblacklist2")
def spare_tables_from_decay(e: Experiment) -> Experiment:
    """No weight decay on embeddings and position tables.

    Why: norms turned out better with decay.  Reported: 6.85 vs 7.07; part of 24gb-v5 and v6.
    """
    return e.with_("train.optimizer.weight_decay.exclude", ("embedding", "relative_position"))


@tag("wdf")
def decay_of_matrices_only(e: Experiment) -> Experiment:
    """Weight decay on the matrices of linear layers and LSTMs only: no convolution, norm, embedding or position table.

    Why: what only scales or shifts cannot overfit much.  Source: the reference's experiments on Switchboard, L2 on
    `W` and `W_re`.  Reported on Switchboard: 21.0 / 15.8 with it, 19.5 / 15.7 without (Hub5'00 / Hub5'01).
    """
    return e.with_("train.optimizer.weight_decay.matrices_only", True)


@tag("wdro")
def decay_of_readout(e: Experiment) -> Experiment:
    """Weight decay on the read-out of the LSTM decoder too, where the base spares it.

    The read-out is the layer between the decoder's state and its output layer; its bias does not decay (in the
    original it did).

    Why: every other matrix decays, and the read-out is a large one.  Source: the reference's experiments on
    Switchboard, L2 on `readout_in`.  Reported there: 19.3 with it, 21.9 without (Hub5'00).
    """
    return e.with_("train.optimizer.weight_decay.readout", True)


@tag("wdenc{value:number}", value=Range(0, 1))
def weight_decay_of_encoder(e: Experiment, value: float) -> Experiment:
    """Weight decay of the encoder: everything outside the decoder, so front-end, Conformer and CTC heads (wdenc1e_2).

    Why: the decoder sees far fewer positions than the encoder, and may want another value.
    """
    return e.with_("train.optimizer.weight_decay.encoder", value)


@tag("wddec{value:number}", value=Range(0, 1))
def weight_decay_of_decoder(e: Experiment, value: float) -> Experiment:
    """Weight decay of the decoder, embedding and output layer included (wddec1e_4).

    Why: as `wdenc`; in Transformer decoders about 0.1 is usual, in LSTMs much less.
    """
    return e.with_("train.optimizer.weight_decay.decoder", value)
