"""A folder's config.json as our tree: dimensions, and everything a checkpoint's shapes do not show."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from aedo.errors import UserError
from aedo.experiment import Experiment

KNOWN = frozenset(
    [
        "behavior_version",
        "decoder",
        "num_enc_layers",
        "enc_dim",
        "enc_ff_dim",
        "enc_att_num_heads",
        "conv_kernel_size",
        "conv_frontend",
        "ff_activation",
        "conv_norm",
        "self_att",
        "vocab",
        "eos_idx",
        "bos_idx",
        "blank_idx",
        "aux_loss_layers",
        "aux_loss_scales",
        "aed_loss_scale",
        "label_smoothing",
        "log_mel",
        "lstm_decoder",
        "trafo_decoder",
    ]
)
"""Fields that describe the model."""
REMARKS = frozenset(
    [
        "variant",
        "checkpoint",
        "seed",
        "eval_outputs",
        "gradient_mode",
        "params_without_grad",
        "sample_lens",
        "target_lens",
        "targets_note",
        "torch",
        "returnn_commit",
        "i6_experiments_commit",
        "num_params",
        "state_dict_shapes",
    ]
)
"""Fields that say where the numbers come from."""


class Description:
    """Reads config.json field by field; every complaint names the field, and what else in the file is unknown."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config, self.where = config, where
        self.unknown = sorted(set(config) - KNOWN - REMARKS)

    def refuse(self, problem: str) -> UserError:
        more = f"; it also has {', '.join(self.unknown)}, which aedo does not know" if self.unknown else ""
        name = f" {self.config['variant']!r}" if "variant" in self.config else ""
        return UserError(f"{self.where}: {problem}{more}; the model{name} is not one that aedo can build")

    def get(self, path: str, kind: type, default: Any = ...) -> Any:
        """A field by its dotted path."""
        value: Any = self.config
        for name in path.split("."):
            value = value.get(name, ...) if isinstance(value, Mapping) else ...
        if value is ... and default is not ...:
            return default
        fits = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            names = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}
            found = "is missing" if value is ... else f"is {value!r:.60}"
            raise self.refuse(f"{path} {found}, expected {names.get(kind, kind.__name__)}")
        return value


def experiment_of(config: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> Experiment:
    """Our tree for a description.  UserError names what aedo has no model for."""
    said = Description(config, where)
    padding = "consistent" if said.get("behavior_version", int) >= 24 else "batch"
    vocabulary, layers = said.get("vocab", int), said.get("num_enc_layers", int)
    if said.get("eos_idx", int, 0) != 0 or said.get("blank_idx", int, vocabulary) != vocabulary:
        raise said.refuse("EOS must be label 0 and the blank the last one")
    decoder = _decoder(said)
    heads = {layer: scale for layer, scale in zip(*_heads(said)) if layer <= layers}
    if decoder is None:
        if layers in heads:
            raise said.refuse(f"a CTC model cannot have two heads on its top layer {layers}")
        heads[layers] = 1.0
    tree = {
        "tokenizer": {"size": vocabulary},
        "features": _features(said),
        "frontend": {**_frontend(said), "padding": padding},
        "encoder": {
            "layers": layers,
            "dim": said.get("enc_dim", int),
            "feed_forward": {"dim": said.get("enc_ff_dim", int), "activation": _activation(said, "ff_activation")},
            "attention": {"heads": said.get("enc_att_num_heads", int), "position": _position(said, state)},
            "convolution": {"kernel": said.get("conv_kernel_size", int), "padding": padding, "norm": _norm(said)},
        },
        "ctc": {"layers": list(heads), "scales": list(heads.values())},
        "decoder": decoder,
        "loss": {
            "label_smoothing": said.get("label_smoothing", float, 0.1),
            "decoder_scale": said.get("aed_loss_scale", float, 1.0),
        },
    }
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise said.refuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _heads(said: Description) -> tuple[list[int], list[float]]:
    layers = said.get("aux_loss_layers", list, [])
    scales = said.get("aux_loss_scales", list, [1.0] * len(layers))
    if len(layers) != len(scales):
        raise said.refuse(f"{len(layers)} aux_loss_layers, {len(scales)} aux_loss_scales")
    return layers, scales


def _features(said: Description) -> dict[str, Any]:
    rate, base = said.get("log_mel.sampling_rate", int, 16000), said.get("log_mel", dict, {}).get("log_base", "10")
    exponent = re.fullmatch(r"exp\(([\d.]+)\)", str(base))
    try:
        base = math.exp(float(exponent[1])) if exponent else float(base)
    except (TypeError, ValueError):
        raise said.refuse(f"log_mel.log_base is {base!r}, expected a number or exp(number)") from None
    window, hop = said.get("log_mel.window_len", float, 0.025), said.get("log_mel.step_len", float, 0.01)
    return {
        "dim": said.get("log_mel.dim", int, 80),
        "sample_rate": rate,
        "window": round(window * rate),
        "hop": round(hop * rate),
        "fft": said.get("log_mel.n_fft", int, 1 << (round(window * rate) - 1).bit_length()),
        "max_hz": rate / 2,
        "floor": said.get("log_mel.eps", float, 1e-10),
        "log_base": base,
    }


def _frontend(said: Description) -> dict[str, Any]:
    if not said.get("conv_frontend", dict, {}):
        return {}
    channels, strides = said.get("conv_frontend.out_channels", list), said.get("conv_frontend.strides", list)
    kernel, pool = said.get("conv_frontend.filter", list), said.get("conv_frontend.pool_after_first", list, [1, 1])
    if kernel[0] != kernel[-1] or any(stride[1] != 1 for stride in strides) or pool[0] != 1:
        raise said.refuse("conv_frontend: filters must be square, bands may be pooled only, time may be strided only")
    if said.get("conv_frontend.activation", str, "relu") != "relu":
        raise said.refuse(f"conv_frontend.activation is {said.config['conv_frontend']['activation']!r}")
    times = [stride[0] for stride in strides]
    return {"channels": channels, "time_strides": times, "kernel": kernel[0], "band_pool": pool[1]}


def _activation(said: Description, path: str) -> str:
    given = said.get(path, str)
    known = {"swish": "swish", "silu": "swish", "relu(x)**2": "relu2", "relu_square": "relu2", "relu": "relu"}
    if given not in known:
        raise said.refuse(f"{path} is {given!r}, known are {', '.join(known)}")
    return known[given]


def _norm(said: Description) -> dict[str, Any]:
    given = said.get("conv_norm", str)
    numbers = {name: float(value) for name, value in re.findall(r"\b(eps|momentum)[ =]([\d.e-]*\d)", given)}
    if "LayerNorm" in given:
        return {"kind": "layer", "eps": numbers.get("eps", 1e-6)}
    if "BatchNorm" in given:
        return {"kind": "batch", "masked": "use_mask=True" in given, **numbers}
    raise said.refuse(f"conv_norm is {given!r}, known are BatchNorm and LayerNorm")


def _position(said: Description, state: Mapping[str, Tensor]) -> dict[str, Any]:
    flags = {
        name: said.get(f"self_att.{name}", bool)
        for name in ("with_bias", "with_linear_pos", "with_pos_bias", "learnable_pos_emb", "separate_pos_emb_per_head")
    }
    if list(flags.values()) == [False, False, False, True, False]:
        table = state.get("encoder.layers.0.self_att.learned_pos_emb.pos_emb")
        return {"kind": "clipped", **({} if table is None else {"clip": (len(table) - 1) // 2})}
    if list(flags.values()) == [True, True, True, False, True]:
        return {"kind": "transformer_xl"}
    raise said.refuse(f"self_att: no attention for {', '.join(f'{k} {v}' for k, v in flags.items())}")


def _decoder(said: Description) -> dict[str, Any] | None:
    if said.config.get("trafo_decoder"):
        return _transformer_decoder(said)
    if not said.config.get("lstm_decoder"):
        if said.get("decoder", str, "none") != "none":
            raise said.refuse(f"decoder is {said.config['decoder']!r} without its dimensions")
        return None
    if said.get("lstm_decoder.att_num_heads", int, 1) != 1:
        raise said.refuse("lstm_decoder.att_num_heads must be 1")
    return {
        "kind": "lstm",
        "embedding_dim": said.get("lstm_decoder.embed_dim", int),
        "attention_dim": said.get("lstm_decoder.key_dim", int),
        "lstm_dim": said.get("lstm_decoder.lstm_dim", int),
        "readout_dim": said.get("lstm_decoder.readout_dim", int),
        "zone_cell": said.get("lstm_decoder.zoneout_cell", float, 0.15),
        "zone_hidden": said.get("lstm_decoder.zoneout_output", float, 0.05),
        "zoned_output": said.get("lstm_decoder.use_zoneout_output", bool, False),
    }


def _transformer_decoder(said: Description) -> dict[str, Any]:
    if said.get("trafo_decoder.pos_enc", str, "sinusoidal") != "sinusoidal":
        raise said.refuse(f"trafo_decoder.pos_enc is {said.config['trafo_decoder']['pos_enc']!r}")
    return {
        "kind": "transformer",
        "layers": said.get("trafo_decoder.num_layers", int),
        "dim": said.get("trafo_decoder.dim", int),
        "heads": said.get("trafo_decoder.num_heads", int),
        "feed_forward": {
            "dim": said.get("trafo_decoder.ff_dim", int),
            "activation": _activation(said, "trafo_decoder.ff_activation"),
        },
        "shared_embedding": said.get("trafo_decoder.share_embedding", bool, False),
        "embedding_scale": said.get("trafo_decoder.input_embedding_scale", float, 1.0),
    }
