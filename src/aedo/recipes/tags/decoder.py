"""Tags for the attention decoder."""

from __future__ import annotations

import math

from aedo.experiment import Experiment
from aedo.model.lstm_decoder import LstmDecoderConfig
from aedo.model.transformer_decoder import TransformerDecoderConfig
from aedo.nn.dropout import DropoutConfig
from aedo.nn.feedforward import FeedForwardConfig
from aedo.recipes.notation import Range
from aedo.recipes.registry import UnfitError, tag


@tag("zoneoutput")
def zoned_output(e: Experiment) -> Experiment:
    """Give the zoned-out hidden state to attention and read-out (the paper), not the raw one (the reference).

    Why: what is kept in the state is then also what is read from it.  Source: Krueger et al. 2017.
    """
    return e.with_("decoder.zoned_output", True)


@tag("decdim{dim:count}", dim=Range(8, 16_384))
def decoder_dim(e: Experiment, dim: int) -> Experiment:
    """Units of the decoder's LSTM, attention and read-out alike (the reference: 1024).

    Why: the decoder's size is most of the cost of recognition.
    """
    return e.with_("decoder.lstm_dim", dim).with_("decoder.attention_dim", dim).with_("decoder.readout_dim", dim)


@tag("embdim{dim:count}", dim=Range(8, 16_384))
def embedding_dim(e: Experiment, dim: int) -> Experiment:
    """Dimension of the label embedding (the reference: 640).

    Why: few labels need few dimensions.
    """
    return e.with_("decoder.embedding_dim", dim)


@tag("declstm2", after=["trafodec", "ctconly"])
def stacked_lstm(e: Experiment) -> Experiment:
    """A second zoneout LSTM behind the attention, of the first one's size, read out in its place.

    It sees the first one's output and the context of the same step; the first one alone makes the query.  The read-out
    still sees label embedding and context.

    Why: one layer must both find the next frames and remember the words.  Source: the lowest layer that attends, and
    its context for those above: Wu et al. 2016.
    """
    _lstm(e)
    return e.with_("decoder.second", "stacked")


@tag("declstmlm", after=["trafodec", "ctconly"])
def language_model_lstm(e: Experiment) -> Experiment:
    """A zoneout LSTM over the label embeddings alone, of the size of the decoder's LSTM, whose output replaces them at
    that LSTM's input.

    The read-out still sees the embedding itself.

    Why: a state that knows the words only, like a language model's, whatever the audio.  Source: Tueske et al. 2020
    (single-headed attention on Switchboard), where projections are added instead of joined.
    """
    _lstm(e)
    return e.with_("decoder.second", "language_model")


@tag("decatt{heads:count}", heads=Range(1, 64), after=["trafodec", "ctconly"])
def attention_heads(e: Experiment, heads: int) -> Experiment:
    """Attention heads of the LSTM decoder, each with its own feedback of where it has looked (decatt4).

    They share keys and query; their contexts, each of the encoder's dimension, are joined.

    Why: one distribution cannot look at two places.  Source: the reference's number of heads, 1 in all its recipes.
    """
    _lstm(e)
    return e.with_("decoder.attention_heads", heads)


@tag(
    "trafodec{layers:count}",
    "trafodec{layers:count}d{dim:count}",
    layers=Range(1, 100),
    dim=Range(16, 16_384),
    after=["attdropfixbc", "attdropbc"],
)
def transformer_decoder(e: Experiment, layers: int, dim: int = 512) -> Experiment:
    """A Transformer decoder of so many layers instead of the LSTM: dimension 512, 8 heads, 2048 hidden units.

    With another dimension: trafodec2d128, and four times as many hidden units.  Dropout masks are shared as in the
    encoder.

    Why: trains in parallel over the labels; better in large models.  Reported: 5.60 vs 5.44 of the LSTM
    (24gb-v6-lrlin1e_5_450k, trafodec6).  Source: Vaswani et al. 2017.
    """
    decoder = TransformerDecoderConfig(
        layers=layers,
        dim=dim,
        feed_forward=FeedForwardConfig(dim=4 * dim, activation="relu"),
        dropout=DropoutConfig(share=e.encoder.dropout.share),
        attention_dropout_share=e.encoder.attention.dropout_share,
    )
    return e.with_("decoder", decoder)


@tag("decdrop{rate:fraction}", rate=Range(0, 0.9), after=["trafodec"])
def decoder_dropout(e: Experiment, rate: float) -> Experiment:
    """Dropout of the Transformer decoder: in the feed-forward networks, before every residual sum.

    Why: the decoder learns a language model of the transcripts by heart soon.
    """
    _transformer(e)
    return e.with_("decoder.dropout.rate", rate)


@tag("declayerdrop{rate:fraction}", rate=Range(0, 0.9), after=["trafodec"])
def decoder_layer_drop(e: Experiment, rate: float) -> Experiment:
    """Pass over layers of a Transformer decoder by chance in training (declayerdrop02 = 0.2 for each).

    Why: keeps a deep decoder from leaning on its language model.  Source: Fan et al. 2020.  Reported: 0.3: 5.07 vs
    4.87, jointly with CTC 4.56 vs 4.59, dev-other; ESPnet's E-Branchformer has 0.2.
    """
    _transformer(e)
    return e.with_("decoder.layer_drop", rate)


@tag("embshare", after=["trafodec", "decdrop"])
def shared_embedding(e: Experiment) -> Experiment:
    """One matrix for embedding and output of the Transformer decoder, embeddings scaled by the root of the
    dimension.

    Their sum with the positions gets the decoder's dropout.

    Why: fewer parameters, and each label's vector is trained wherever it occurs.  Reported: 5.45 vs 5.60
    (trafodec6, with wd1e_2).  Source: Press & Wolf 2017; the later default of the reference.
    """
    decoder = _transformer(e)
    e = e.with_("decoder.shared_embedding", True).with_("decoder.embedding_scale", math.sqrt(decoder.dim))
    return e.with_("decoder.input_dropout", decoder.dropout.rate)


@tag("auxdec{layers:layers}", layers=Range(1, 100), after=["trafodec"])
def auxiliary_decoder_heads(e: Experiment, layers: tuple[int, ...]) -> Experiment:
    """Train output layers on these lower layers of the Transformer decoder too, beside the last.

    Why: lower layers get a gradient of their own.  Reported: a clear win with large models (auxdec3).
    """
    _transformer(e)
    return e.with_("decoder.auxiliary", layers)


@tag("decllama", after=["trafodec"])
def llama_decoder(e: Experiment) -> Experiment:
    """RMSNorm, gated feed-forward networks, rotary positions, and biases in the attention to the encoder alone.

    The hidden units are 8/3 of the dimension, rounded up to a multiple of 256: about the parameters of the plain
    network.

    Why: the form that large language models have converged to.  Source: Touvron et al. 2023; the reference's larger
    models.
    """
    hidden = -(-(8 * _transformer(e).dim // 3) // 256) * 256
    e = e.with_("decoder.norm", "rms").with_("decoder.rotary", True).with_("decoder.self_attention_bias", False)
    e = e.with_("decoder.feed_forward.activation", "swiglu").with_("decoder.feed_forward.bias", False)
    return e.with_("decoder.feed_forward.dim", hidden)


@tag("decrmsnorm", after=["trafodec"])
def decoder_rms_norms(e: Experiment) -> Experiment:
    """RMS normalisation for the layer norms of the Transformer decoder: neither mean nor shift.

    Why: one part of decllama by itself.  Source: Zhang & Sennrich 2019.
    """
    _transformer(e)
    return e.with_("decoder.norm", "rms")


@tag("declnnobias", after=["trafodec"])
def decoder_layer_norms_without_bias(e: Experiment) -> Experiment:
    """Layer norms of the Transformer decoder without their shift.

    Why: as lnnobias in the encoder.  Source: Xu et al. 2019.
    """
    _transformer(e)
    return e.with_("decoder.norm", "layer_no_bias")


def _transformer(e: Experiment) -> TransformerDecoderConfig:
    if isinstance(e.decoder, TransformerDecoderConfig):
        return e.decoder
    raise UnfitError("it needs a Transformer decoder; add trafodec6")


def _lstm(e: Experiment) -> LstmDecoderConfig:
    if isinstance(e.decoder, LstmDecoderConfig):
        return e.decoder
    raise UnfitError("it needs an LSTM decoder; leave trafodec or ctconly out")
