"""Tags for the initialisation of parameters."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag


@tag("inittorch")
def torch_initialization(e: Experiment) -> Experiment:
    """Start linear layers, convolutions, LSTMs and embeddings as torch does by default.

    Why: smaller weights and random biases, where the reference has Glorot's and zeros.  Tables of relative positions
    stay zero.  Reported: no isolated result.  Source: He et al. 2015, as torch applies it.
    """
    return e.with_("initialization.kind", "torch")


@tag("initglorot")
def glorot_initialization(e: Experiment) -> Experiment:
    """Start all matrices uniform, scaled by inputs and outputs together, and biases at zero (the reference).

    Why: the default, by name.  Source: Glorot & Bengio 2010.
    """
    return e.with_("initialization.kind", "glorot")


@tag("mhsapinit{scale:fraction}", scale=Range(0.01, 10))
def attention_initialization(e: Experiment, scale: float) -> Experiment:
    """Variance of the initial queries, keys and values of self-attention, as a factor (mhsapinit05 = 0.5).

    Why: flatter attention at the start; the TensorFlow original had 0.5.  Reported: 20.9 vs 23.2, later 17.4 vs 18.6
    (Switchboard).
    """
    return e.with_("encoder.attention.init_scale", scale)


@tag("embinit{std:number}", "embInit{std:number}", std=Range(1e-4, 10), after=["ctconly", "trafodec"])
def embedding_initialization(e: Experiment, std: float) -> Experiment:
    """Start label embeddings from a normal distribution of this deviation, cut at twice it (embinit1 = 1).

    Why: Glorot's limit, made for matrices, leaves them tiny.  Reported: 6.51 vs 6.35, worse (24gb-v5).
    """
    return e.with_("decoder.embedding_std", std)
