"""Tags for the attention decoder."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag


@tag("zoneoutput")
def zoned_output(e: Experiment) -> Experiment:
    """Give the zoned-out hidden state to attention and read-out (the paper), not the raw one (the reference).

    Source: Krueger et al. 2017.
    """
    return e.with_("decoder.zoned_output", True)


@tag("decdim{dim:count}", dim=Range(8, 16_384))
def decoder_dim(e: Experiment, dim: int) -> Experiment:
    """Units of the decoder's LSTM, attention and read-out alike (the reference: 1024)."""
    return e.with_("decoder.lstm_dim", dim).with_("decoder.attention_dim", dim).with_("decoder.readout_dim", dim)


@tag("embdim{dim:count}", dim=Range(8, 16_384))
def embedding_dim(e: Experiment, dim: int) -> Experiment:
    """Dimension of the label embedding (the reference: 640)."""
    return e.with_("decoder.embedding_dim", dim)
