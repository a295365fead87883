"""Tags for the size and the parts of the Conformer."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.nn.norms import LayerNormConfig
from aedo.nn.positions import TransformerXLPositionsConfig
from aedo.recipes.notation import Range
from aedo.recipes.registry import tag

DIMS = Range(8, 16_384)


@tag("d{dim:count}", "d{dim:count}ff{hidden:count}", dim=DIMS, hidden=DIMS)
def model_dim(e: Experiment, dim: int, hidden: int | None = None) -> Experiment:
    """Encoder dimension; the feed-forward networks have four times as many hidden units (d384 = d384ff1536)."""
    return e.with_("encoder.dim", dim).with_("encoder.feed_forward.dim", hidden or 4 * dim)


@tag("ff{hidden:count}", hidden=DIMS)
def feed_forward_dim(e: Experiment, hidden: int) -> Experiment:
    """Hidden units of the feed-forward networks (the reference: 2048).  With another dimension: d384ff1024."""
    return e.with_("encoder.feed_forward.dim", hidden)


@tag("h{heads:count}", heads=Range(1, 1024))
def attention_heads(e: Experiment, heads: int) -> Experiment:
    """Heads of self-attention (the reference: 8)."""
    return e.with_("encoder.attention.heads", heads)


@tag("n{layers:count}", layers=Range(1, 1000))
def encoder_layers(e: Experiment, layers: int) -> Experiment:
    """Conformer blocks (the reference: 12)."""
    return e.with_("encoder.layers", layers)


@tag("pretrain")
def growing_encoder(e: Experiment) -> Experiment:
    """Grow the encoder: 2 layers for 4k micro-steps, 4 and 8 for 2k each, then all.

    Why: shallow networks find the alignment sooner.  Reported: 7.30 vs 7.07 (24gb-v4), worse; part of 24gb-v5, not of
    24gb-v6.
    """
    return e.with_("encoder.growth", ((4_000, 2), (2_000, 4), (2_000, 8)))


@tag("nopretrain")
def full_encoder(e: Experiment) -> Experiment:
    """Train all layers from the start.  Reported: 6.30 vs 6.35 (24gb-v5)."""
    return e.with_("encoder.growth", ())


@tag("ks{frames:count}", frames=Range(1, 1001))
def kernel_size(e: Experiment, frames: int) -> Experiment:
    """Frames that the depthwise convolution sees (the reference: 32)."""
    return e.with_("encoder.convolution.kernel", frames)


@tag("swish")
def swish(e: Experiment) -> Experiment:
    """Swish in the feed-forward networks, as in the Conformer's paper, instead of squared ReLU."""
    return e.with_("encoder.feed_forward.activation", "swish")


@tag("relu2")
def squared_relu(e: Experiment) -> Experiment:
    """Squared ReLU in the feed-forward networks (the reference).  Source: So et al. 2021 (Primer)."""
    return e.with_("encoder.feed_forward.activation", "relu2")


@tag("ln")
def layer_norm(e: Experiment) -> Experiment:
    """LayerNorm instead of BatchNorm in the convolution module.

    Why: no statistics of the batch.  Reported on Switchboard: 19.0 vs 23.2 (Hub5'00), a single noisy run.
    """
    return e.with_("encoder.convolution.norm", LayerNormConfig())


@tag("bnnomask")
def unmasked_batch_norm(e: Experiment) -> Experiment:
    """Count padding in the statistics of BatchNorm, as most implementations do."""
    return e.with_("encoder.convolution.norm.masked", False)


@tag("relposxl", "relPosAttDef")
def transformer_xl_positions(e: Experiment) -> Experiment:
    """Transformer-XL's relative positions: projected sinusoids and two learned biases, no clipping, biased projections.

    Source: Dai et al. 2019.  The dropout on positions stays as it is.
    """
    dropout = e.encoder.attention.position.dropout
    return e.with_("encoder.attention.position", TransformerXLPositionsConfig(dropout=dropout))


@tag("relposclip{distance:count}", distance=Range(1, 10_000))
def position_clip(e: Experiment, distance: int) -> Experiment:
    """Largest distance that learned relative positions tell apart (the reference: 16).  Source: Shaw et al. 2018."""
    return e.with_("encoder.attention.position.clip", distance)
