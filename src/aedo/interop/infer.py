"""A RETURNN state dict as our Experiment: every dimension from the shapes, the rest from what the user says.

Shapes do not show activations, zoneout, padding, the base of the logarithm and training details.  Those follow the
original models of 2023 (behavior version 16) unless said otherwise; all of it can be read in experiment.json.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.interop.match import unfamiliar
from aedo.model.chunked import ChunkedConfig

CONSISTENT_SINCE = 24
"""First behavior version whose convolutions do not depend on the batch."""
FREE_ATTENTION_DROPOUT_SINCE = 19
"""First behavior version that draws attention dropout for every weight."""


@dataclass(frozen=True)
class Unseen:
    """What a checkpoint's shapes do not show."""

    behavior_version: int = 16
    """RETURNN's, as in its config; 16 is the one of the original models."""
    activation: str = "relu2"
    """Of the encoder's feed-forward networks: relu2 or swish."""
    zoned_output: bool = False
    """RETURNN's use_zoneout_output."""
    settings: Sequence[str] = ()
    """FIELD=VALUE of the experiment tree, for everything else."""
    streaming: ChunkedConfig | None = None
    """How a chunked model cuts its features.  Such a model's CTC heads have the blank first, its targets no EOS."""


class Shapes:
    """Looks up shapes; a missing name is a UserError that says what the file has instead."""

    def __init__(self, state: Mapping[str, Tensor], where: str) -> None:
        self.state, self.where = state, where

    def of(self, name: str, dims: int) -> tuple[int, ...]:
        if name not in self.state:
            raise unfamiliar(self.where, self.state, [name])
        shape = tuple(self.state[name].shape)
        if len(shape) != dims or 0 in shape:
            raise UserError(f"{self.where}: {name} is {list(shape)}, expected {dims} dimensions")
        return shape

    def has(self, name: str) -> bool:
        return name in self.state

    def numbers(self, pattern: str) -> list[int]:
        """The distinct numbers in names that match, ascending."""
        found = (re.match(pattern, name) for name in self.state)
        return sorted({int(match[1]) for match in found if match})

    def count(self, pattern: str, what: str) -> int:
        """How many parts numbered 0, 1, 2, ... there are; UserError where a number is missing."""
        numbers = self.numbers(pattern)
        if not numbers:
            raise unfamiliar(self.where, self.state, [what.replace("*", "0")])
        if numbers != list(range(len(numbers))):
            raise UserError(f"{self.where}: {what} has the numbers {numbers[:30]}: some are missing")
        return len(numbers)


def chunked_of(text: str) -> ChunkedConfig | None:
    """20_15 or 20_15_2 -> chunks of 20 + 15 frames as the original has them; UserError where it is none."""
    if not text:
        return None
    try:
        sizes = dict(zip(("kept", "look_ahead", "history"), map(int, text.split("_")), strict=text.count("_") > 1))
        if len(sizes) > 1:
            return ChunkedConfig.model_validate({**sizes, "original": True})
    except ValueError:
        pass
    raise UserError(f"--chunked {text}: expected KEPT_AHEAD, such as 20_15, or KEPT_AHEAD_HISTORY")


def experiment_of(state: Mapping[str, Tensor], unseen: Unseen, where: str) -> Experiment:
    """The tree of the model whose parameters these are.  UserError where they are not of this family."""
    shapes = Shapes(state, where)
    if shapes.has("layers.0.final_layer_norm.scale") and not shapes.numbers(r"encoder\.layers\.(\d{1,4})\."):
        raise UserError(
            f"{where}: an encoder alone, without front-end, CTC head and decoder: nothing to recognise with; "
            "aedo verify compares such an encoder with reference values"
        )
    padding = padding_of(unseen)
    frontend, mels = _frontend(shapes)
    encoder = encoder_fields(shapes, unseen)
    if unseen.streaming is not None:
        if encoder["kind"] != "conformer":
            raise UserError(f"{where}: an E-Branchformer, which cannot hear in chunks")
        encoder["streaming"] = unseen.streaming.model_dump()
    decoder, vocabulary = _decoder(shapes, unseen)
    heads = _heads(shapes, encoder["layers"], has_decoder=decoder is not None)
    if decoder is None:
        vocabulary = shapes.of("enc_logits.weight", 2)[1] - 1
    tree = {
        "tokenizer": {"kind": "imported", "size": vocabulary},
        "features": _features(shapes, mels, later=decoder is None),
        "frontend": {**frontend, "padding": padding},
        "encoder": encoder,
        "ctc": {"layers": heads, "eos": unseen.streaming is None},
        "decoder": decoder,
    }
    try:
        experiment = Experiment.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{where}: {_first(error)}") from None
    return with_settings(experiment, unseen.settings)


def with_settings(experiment: Experiment, settings: Sequence[str]) -> Experiment:
    """The tree with FIELD=VALUE settings applied in order; values are JSON, or plain words."""
    for setting in settings:
        field, equals, text = setting.partition("=")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if not equals or not text:
            raise UserError(f"--set {setting}: expected FIELD=VALUE, for example decoder.zone_cell=0.1")
        try:
            experiment = experiment.with_(field, value)
        except KeyError as error:
            raise UserError(f"--set {setting}: {error.args[0]}") from None
        except ValidationError as error:
            raise UserError(f"--set {setting}: {_first(error)}") from None
    return experiment


def _features(shapes: Shapes, mels: int, *, later: bool) -> dict[str, Any]:
    """The features' fields.  Models without decoder, and those that normalise features, came later: base 10."""
    normed = shapes.has("feature_batch_norm.running_mean")
    if normed:
        (bands,) = shapes.of("feature_batch_norm.running_mean", 1)
        if bands + bands % 2 != mels:
            raise UserError(f"{shapes.where}: feature_batch_norm has {bands} bands, the front-end {mels}")
        mels = bands
    return {
        "dim": mels,
        "log_base": 10.0 if later or normed else math.exp(2.3026),
        "normalize": {"kind": "batch"} if normed else None,
    }


def _frontend(shapes: Shapes) -> tuple[dict[str, Any], int]:
    """The front-end's fields and the number of mel filters."""
    layers = "encoder.input_layer.conv_layers"
    filters = [shapes.of(f"{layers}.{number}.filter", 4) for number in range(3)]
    kernel = filters[0][2]
    if any(shape[2:] != (kernel, kernel) for shape in filters):
        raise UserError(f"{shapes.where}: filters of the front-end are not square and equal: {filters}")
    channels = [shape[0] for shape in filters]
    inputs, _ = shapes.of("encoder.input_projection.weight", 2)
    if inputs % channels[-1]:
        raise UserError(f"{shapes.where}: encoder.input_projection has {inputs} inputs for {channels[-1]} channels")
    return {"channels": channels, "kernel": kernel}, 2 * (inputs // channels[-1])  # the pooling halves the bands


def padding_of(unseen: Unseen) -> str:
    return "consistent" if unseen.behavior_version >= CONSISTENT_SINCE else "batch"


def encoder_fields(shapes: Shapes, unseen: Unseen, prefix: str = "encoder.") -> dict[str, Any]:
    """The encoder's fields; `prefix` stands in front of all its names."""
    first = f"{prefix}layers.0"
    layers = shapes.count(rf"{re.escape(prefix)}layers\.(\d{{1,4}})\.", f"{prefix}layers.*")
    dim, ff = shapes.of(f"{first}.ffn1.linear_ff.weight", 2)
    gated = shapes.has(f"{first}.cgmlp.linear_ff.weight")
    own = _gating(shapes, first, dim, unseen) if gated else _convolution(shapes, first, unseen)
    return {
        "layers": layers,
        "dim": dim,
        "feed_forward": {
            "dim": ff,
            "activation": unseen.activation,
            "bias": shapes.has(f"{first}.ffn1.linear_ff.bias"),
        },
        "attention": {
            **_positions(shapes, f"{first}.self_att", dim),
            "dropout_share": "none" if unseen.behavior_version >= FREE_ATTENTION_DROPOUT_SINCE else "all_but_keys",
        },
        **own,
    }


def _convolution(shapes: Shapes, first: str, unseen: Unseen) -> dict[str, Any]:
    """What only a Conformer has."""
    _, _, kernel = shapes.of(f"{first}.conv_block.depthwise_conv.filter", 3)
    norm = "batch" if shapes.has(f"{first}.conv_block.norm.running_mean") else "layer"
    return {
        "kind": "conformer",
        "convolution": {"kernel": kernel, "padding": padding_of(unseen), "norm": {"kind": norm}},
    }


def _gating(shapes: Shapes, first: str, dim: int, unseen: Unseen) -> dict[str, Any]:
    """What only an E-Branchformer has."""
    hidden, _, kernel = shapes.of(f"{first}.cgmlp.conv.filter", 3)
    _, _, merge_kernel = shapes.of(f"{first}.merge.depthwise_conv_fusion.filter", 3)
    return {
        "kind": "ebranchformer",
        "gating": {"dim": None if hidden == 3 * dim else hidden, "kernel": kernel},
        "merge_kernel": merge_kernel,
        "padding": padding_of(unseen),
    }


def _positions(shapes: Shapes, attention: str, dim: int) -> dict[str, Any]:
    if shapes.has(f"{attention}.pos_bias_u"):
        heads, _ = shapes.of(f"{attention}.pos_bias_u", 2)
        return {"heads": heads, "position": {"kind": "transformer_xl"}}
    rows, head_dim = shapes.of(f"{attention}.learned_pos_emb.pos_emb", 2)
    if dim % head_dim or rows % 2 == 0 or rows < 3:
        raise UserError(
            f"{shapes.where}: {attention}.learned_pos_emb.pos_emb is [{rows}, {head_dim}] for {dim} features"
        )
    return {"heads": dim // head_dim, "position": {"kind": "clipped", "clip": rows // 2}}


def _heads(shapes: Shapes, layers: int, *, has_decoder: bool) -> list[int]:
    """Numbers of the layers with a CTC head."""
    heads = shapes.numbers(r"enc_aux_logits_(\d{1,4})\.weight$")
    if has_decoder:
        return heads
    if layers in heads:
        raise UserError(f"{shapes.where}: has both enc_logits and enc_aux_logits_{layers} on its top layer")
    return [*heads, layers]


def _decoder(shapes: Shapes, unseen: Unseen) -> tuple[dict[str, Any] | None, int]:
    """The decoder's fields and the labels of the vocabulary; without decoder, None and 0."""
    if shapes.has("s.rec_weight"):
        vocabulary, embedding = shapes.of("target_embed.weight", 2)
        return {
            "kind": "lstm",
            "embedding_dim": embedding,
            "attention_dim": shapes.of("enc_ctx.weight", 2)[1],
            "attention_heads": shapes.of("energy.weight", 2)[1],
            "lstm_dim": shapes.of("s.rec_weight", 2)[1],
            "readout_dim": shapes.of("readout_in.weight", 2)[1],
            "weight_feedback": shapes.has("weight_feedback.weight"),
            "zoned_output": unseen.zoned_output,
        }, vocabulary
    if unseen.zoned_output:
        raise UserError(f"{shapes.where}: has no LSTM decoder, --zoned-output says nothing")
    if shapes.has("decoder.input_embedding.weight"):
        return _transformer(shapes)
    if shapes.has("enc_logits.weight"):
        return None, 0
    raise unfamiliar(
        shapes.where, shapes.state, ["s.rec_weight", "decoder.input_embedding.weight", "enc_logits.weight"]
    )


def _transformer(shapes: Shapes) -> tuple[dict[str, Any], int]:
    first = "decoder.layers.0"
    vocabulary, dim = shapes.of("decoder.input_embedding.weight", 2)
    layers = shapes.count(r"decoder\.layers\.(\d{1,4})\.", "decoder.layers.*")
    ff, _ = shapes.of(f"{first}.ff.linear_out.weight", 2)
    gated = shapes.of(f"{first}.ff.linear_ff.weight", 2)[1] == 2 * ff
    rms = not shapes.has(f"{first}.self_att_layer_norm.bias")
    logits = shapes.state.get("decoder.logits.weight")
    embedding = shapes.state["decoder.input_embedding.weight"]
    shared = logits is not None and logits.shape == embedding.shape and torch.equal(logits, embedding)
    rotary = rms and gated  # the two come together in this family; neither shows in the shapes
    possible = (n for n in range(8, 0, -1) if dim % n == 0 and not (rotary and dim // n % 2))
    return {
        "kind": "transformer",
        "layers": layers,
        "dim": dim,
        "heads": next(possible, 1),  # 8 in the reference, if that can be
        "feed_forward": {
            "dim": ff,
            "activation": "swiglu" if gated else "relu",
            "bias": shapes.has(f"{first}.ff.linear_ff.bias"),
        },
        "norm": "rms" if rms else "layer",
        "rotary": rotary,
        "self_attention_bias": shapes.has(f"{first}.self_att.qkv.bias"),
        "shared_embedding": shared,
        "embedding_scale": math.sqrt(dim) if shared else 1.0,  # the reference's defaults
        "auxiliary": shapes.numbers(r"dec_aux_logits_(\d{1,4})\.weight"),
    }, vocabulary


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
