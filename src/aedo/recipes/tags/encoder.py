"""Tags for the kind, the size and the parts of the encoder."""

from __future__ import annotations

from aedo.experiment import Experiment
from aedo.model.ebranchformer import EBranchformerConfig
from aedo.model.encoder import StackConfig
from aedo.nn.attend import Fused
from aedo.nn.norms import LayerNormConfig
from aedo.nn.positions import NoPositionsConfig, RotaryPositionsConfig, TransformerXLPositionsConfig
from aedo.nn.rates import rate_fields
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag
from aedo.schedule import Steps

DIMS = Range(8, 16_384)


@tag("d{dim:count}", "d{dim:count}ff{hidden:count}", dim=DIMS, hidden=DIMS)
def model_dim(e: Experiment, dim: int, hidden: int | None = None) -> Experiment:
    """Encoder dimension; the feed-forward networks have four times as many hidden units (d384 = d384ff1536).

    Why: capacity against memory and time.
    """
    return e.with_("encoder.dim", dim).with_("encoder.feed_forward.dim", hidden or 4 * dim)


@tag("ff{hidden:count}", hidden=DIMS)
def feed_forward_dim(e: Experiment, hidden: int) -> Experiment:
    """Hidden units of the feed-forward networks (the reference: 2048).  With another dimension: d384ff1024.

    Why: half of the parameters of a block are here.
    """
    return e.with_("encoder.feed_forward.dim", hidden)


@tag("h{heads:count}", heads=Range(1, 1024))
def attention_heads(e: Experiment, heads: int) -> Experiment:
    """Heads of self-attention (the reference: 8).

    Why: more heads attend to more places, each with fewer features.
    """
    return e.with_("encoder.attention.heads", heads)


@tag("n{layers:count}", layers=Range(1, 1000))
def encoder_layers(e: Experiment, layers: int) -> Experiment:
    """Blocks of the encoder (the reference: 12).

    Why: deeper encoders are better where data and memory allow.
    """
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
    """Train all layers from the start.

    Why: one thing less to tune, once the recipe is stable.  Reported: 6.30 vs 6.35 (24gb-v5).
    """
    return e.with_("encoder.growth", ())


@tag("ebranchformer")
def ebranchformer(e: Experiment) -> Experiment:
    """E-Branchformer instead of Conformer blocks: convolutional gating beside self-attention, both merged.

    Number of blocks, dimension, heads, positions, feed-forward networks and dropout stay those of the base.  The gating
    has three times the model's dimension in each of its halves and a kernel of 31, the merge a kernel of 3.  Of the
    base's 12 x 512, that is a third more parameters; with ff1024, as in ESPnet, about as many.  ESPnet's own: n17,
    ff1024, swish, relposxl, mergeks31; its layer drop is not there.

    Why: local and global context side by side instead of one after the other.  Reported: 5.15 with ESPnet's encoder in
    this recipe; as good as the Conformer in large models (4.84 vs 4.72).  Source: Kim et al. 2022.
    """
    shared = {name: getattr(e.encoder, name) for name in StackConfig.model_fields}
    return e.with_("encoder", EBranchformerConfig(**shared))


@tag("cgmlp{units:count}", units=DIMS, after=["ebranchformer", "d"])
def gating_dim(e: Experiment, units: int) -> Experiment:
    """Hidden units in each half of the E-Branchformer's gating (three times the model's dimension; ESPnet counts both).

    Why: half of the parameters of a block are here.
    """
    e = _ebranchformer(e)
    if units == 3 * e.encoder.dim:
        raise UnfitError(f"{units} is three times the model's dimension already; leave it out")
    return e.with_("encoder.gating.dim", units)


@tag("mergeks{frames:count}", frames=Range(1, 1001), after=["ebranchformer"])
def merge_kernel_size(e: Experiment, frames: int) -> Experiment:
    """Frames that the convolution over both branches of an E-Branchformer sees (3; ESPnet: 31).

    Why: what the merge may know of the frames around.
    """
    return _ebranchformer(e).with_("encoder.merge_kernel", frames)


def _ebranchformer(e: Experiment) -> Experiment:
    if e.encoder.kind == "ebranchformer":
        return e
    raise UnfitError("it needs an E-Branchformer; add ebranchformer")


@tag("ks{frames:count}", frames=Range(1, 1001), after=["ebranchformer"])
def kernel_size(e: Experiment, frames: int) -> Experiment:
    """Frames that the depthwise convolution sees (the reference: 32; the gate's of an E-Branchformer: 31).

    Why: the kernel is the local context that attention need not look for.
    """
    part = "convolution" if e.encoder.kind == "conformer" else "gating"
    return e.with_(f"encoder.{part}.kernel", frames)


@tag("swish")
def swish(e: Experiment) -> Experiment:
    """Swish in the feed-forward networks, as in the Conformer's paper, instead of squared ReLU.

    Why: the paper's choice, for comparisons with other systems.
    """
    return e.with_("encoder.feed_forward.activation", "swish")


@tag("relu2")
def squared_relu(e: Experiment) -> Experiment:
    """Squared ReLU in the feed-forward networks (the reference).

    Why: zero for half of its inputs and steep for large ones; much better than swish in the reference's trainings.
    Source: So et al. 2021 (Primer).
    """
    return e.with_("encoder.feed_forward.activation", "relu2")


@tag("ln", after=["ebranchformer"])
def layer_norm(e: Experiment) -> Experiment:
    """LayerNorm instead of BatchNorm in the convolution module.

    Why: no statistics of the batch.  Reported on Switchboard: 19.0 vs 23.2 (Hub5'00), a single noisy run.
    """
    return e.with_("encoder.convolution.norm", LayerNormConfig())


@tag("bnnomask", after=["ebranchformer"])
def unmasked_batch_norm(e: Experiment) -> Experiment:
    """Count padding in the statistics of BatchNorm, as most implementations do.

    Why: statistics that depend on padding act as noise, which may regularise.
    """
    return e.with_("encoder.convolution.norm.masked", False)


@tag("relposxl", "relPosAttDef")
def transformer_xl_positions(e: Experiment) -> Experiment:
    """Transformer-XL's relative positions: projected sinusoids and two learned biases, no clipping, biased
    projections.

    Why: positions of any distance, and biases that let a head prefer a distance whatever the frame.  Source: Dai et
    al. 2019.  The dropout on positions stays as it is.
    """
    position = e.encoder.attention.position
    dropout = position.dropout if position.kind in ("clipped", "transformer_xl") else 0.0
    return e.with_("encoder.attention.position", TransformerXLPositionsConfig(dropout=dropout))


@tag("relposclip{distance:count}", distance=Range(1, 10_000))
def position_clip(e: Experiment, distance: int) -> Experiment:
    """Largest distance that learned relative positions tell apart (the reference: 16).

    Why: how far a head can tell the order of frames.  Source: Shaw et al. 2018.
    """
    return e.with_("encoder.attention.position.clip", distance)


@tag("fix245", after=["ebranchformer"])
def dropout_behind_attention(e: Experiment) -> Experiment:
    """Dropout also before the residual sum behind self-attention, as behind the other parts of a block.

    Why: older systems forgot it; all bases but theirs have it.  Source: the option of that name of the reference's
    older Conformer.
    """
    return e.with_("encoder.dropout_behind_attention", True)


@tag("nofix245", after=["ebranchformer"])
def no_dropout_behind_attention(e: Experiment) -> Experiment:
    """No dropout before the residual sum behind self-attention.

    Why: parity with the older systems that forgot it.
    """
    return e.with_("encoder.dropout_behind_attention", False)


@tag("chunk{frames:count}", "chunk{frames:count}a", frames=Range(1, 100_000))
def training_on_chunks(e: Experiment, frames: int) -> Experiment:
    """Training cuts what the front-end gives into chunks of so many frames, which the encoder sees one by one.

    Recognition, also of the dev data, sees utterances whole.  In the original, chunk50a left batches alone in which no
    utterance is longer than a chunk and chunk50 padded them; here padding changes nothing, so both say the same.

    Why: less memory for long utterances, and none of the far context that short training data lack.  Reported: unclear
    (Switchboard).
    """
    return e.with_("encoder.chunk", frames)


@tag("win{frames:count}", frames=Range(1, 100_000))
def local_attention(e: Experiment, frames: int) -> Experiment:
    """In training every frame attends to so many frames around it, one more to the right if even (win50: -24 to 25).

    Recognition, also of the dev data, attends to all.

    Why: as chunks, without their borders.  Reported: win50 slightly good (Switchboard).
    """
    return e.with_("encoder.attention.window", frames)


@tag("pre10", "pre10ep{epochs:count}", last=True, epochs=Range(1, 100_000))
def growing_encoder_by_epochs(e: Experiment, epochs: int = 10) -> Experiment:
    """Grow the encoder in depth and width: 2, 4 and 8 of 12 layers for 10 sub-epochs each, then all.

    An encoder of another size has the same shares of its layers; pre10ep2 gives each stage 2 sub-epochs.  The width
    grows with the number of layers from one half to the whole.  We read it as inner width: of each block only the first
    heads, hidden units and convolution channels are in use, while its input and output keep their size, so that no
    parameter has to be copied from stage to stage.  The encoder's dropout rates are scaled by the width.  The learning
    rate that belongs to it is lrpre10.

    Why: small networks find the alignment sooner and need less regularisation.  Reported: no isolated result
    (Switchboard).  Source: Zeyer et al. 2018, for recurrent encoders.
    """
    layers = e.encoder.layers
    if e.encoder.growth:
        raise UnfitError("the encoder grows already; leave pretrain out, or take it back with nopretrain")
    if layers < 2:
        raise UnfitError("an encoder of one layer cannot grow")
    depths = [max(1, round(layers * share)) for share in (2 / 12, 4 / 12, 8 / 12)]
    widths = [0.5 + 0.5 * (depth - depths[0]) / (layers - depths[0]) for depth in (*depths, layers)]
    nodes = tuple(epochs * stage for stage in (1, 2, 3))
    e = e.with_("encoder.growth", tuple((epochs, depth) for depth in depths)).with_("encoder.growth_unit", "epoch")
    e = e.with_("encoder.width", Steps(unit="epoch", nodes=nodes, values=tuple(widths)))
    for path, rate in list(rate_fields(e.encoder)):
        if isinstance(rate, float) and rate > 0:
            values = tuple(float(f"{rate * width:.12g}") for width in widths)
            e = e.with_(f"encoder.{path}", Steps(unit="epoch", nodes=nodes, values=values))
    return e


@tag("relposrope")
def rotary_positions(e: Experiment) -> Experiment:
    """Rotary positions in self-attention: queries and keys turned by their place, instead of learned distances.

    Projections without biases, as with clipped positions; nothing to drop, so the dropout on positions goes.

    Why: no position scores to compute or keep, and distances of any size.  Reported: 5.87 vs 5.77 (later
    models).  Source: Su et al. 2021 (RoFormer).
    """
    return e.with_("encoder.attention.position", RotaryPositionsConfig())


@tag("nopos")
def no_positions(e: Experiment) -> Experiment:
    """No positions in self-attention: the convolutions alone know the order of frames.

    Why: what are positions worth?  Reported: nothing.
    """
    return e.with_("encoder.attention.position", NoPositionsConfig())


@tag("qknorm")
def cosine_attention(e: Experiment) -> Experiment:
    """Give queries and keys of self-attention length 1 and learn a scale for each head, from the root of its size.

    Content scores are then scaled cosines.  Position scores see the normed query, as large as with the layer norm of
    qkln; the learned scale does not touch them.  Henry et al. learn one scale and start it from the length of the
    training's utterances: we read it per head, from a value that needs no data.

    Why: scores cannot grow without bound, which breaks large learning rates.  Reported: nothing.  Source: Henry et al.
    2020 (QKNorm).
    """
    return e.with_("encoder.attention.qk_norm", "l2")


@tag("qkln")
def normed_attention(e: Experiment) -> Experiment:
    """Layer normalisation of each head's queries and keys in self-attention, with a scale per feature and no shift.

    The heads share the scales.  Position scores see the normed query.

    Why: as qknorm, with a scale per feature.  Reported: nothing.  Source: Dehghani et al. 2023 (ViT-22B).
    """
    return e.with_("encoder.attention.qk_norm", "layer")


@tag("lnnobias")
def layer_norms_without_bias(e: Experiment) -> Experiment:
    """Layer norms of the encoder's blocks without their shift; the norm of the convolution module stays as it is.

    Why: the layers behind have biases already.  Reported: no isolated result.  Source: Xu et al. 2019.
    """
    return e.with_("encoder.norm", "layer_no_bias")


@tag("rmsnorm")
def rms_norms(e: Experiment) -> Experiment:
    """RMS normalisation for the layer norms of the encoder's blocks: neither mean nor shift.

    The norm of the convolution module stays as it is.

    Why: cheaper, and as good in most reports.  Reported: no isolated result.  Source: Zhang & Sennrich 2019.
    """
    return e.with_("encoder.norm", "rms")


@tag("fusedatt", after=["trafodec", "ctconly"])
def fused_attention_in_training(e: Experiment) -> Experiment:
    """Compute attention with torch's fused kernels in training too, not only in evaluation and recognition.

    In the encoder and in a Transformer decoder.  Attention dropout then draws other masks of the same distribution.  A
    training that is killed continues bit for bit on CPUs; on GPUs these kernels may add gradients in changing order.

    Why: the attention weights need not be stored, which is much of the memory of long utterances.  Source: Dao et al.
    2022.
    """
    return _attention_by(e, "always")


@tag("plainatt", after=["trafodec", "ctconly"])
def plain_attention_everywhere(e: Experiment) -> Experiment:
    """Compute attention written out, also in evaluation and recognition.

    Why: to compare with the fused kernels.
    """
    return _attention_by(e, "never")


def _attention_by(e: Experiment, fused: Fused) -> Experiment:
    e = e.with_("encoder.attention.fused", fused)
    return e.with_("decoder.attention_fused", fused) if e.decoder is not None and e.decoder.kind == "transformer" else e
