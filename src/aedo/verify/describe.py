"""A folder's config.json: what the shapes of its checkpoint do not show, and a check of the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from aedo.config import Part
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.interop import infer
from aedo.verify.describe_parts import flattened, is_by_parts, numbers

KNOWN = {
    *("behavior_version", "num_enc_layers", "enc_dim", "enc_ff_dim", "enc_att_num_heads", "conv_kernel_size"),
    *("conv_frontend", "ff_activation", "conv_norm", "self_att", "vocab", "eos_idx", "bos_idx", "blank_idx"),
    *("aux_loss_layers", "aux_loss_scales", "aed_loss_scale", "label_smoothing", "log_mel"),
    *("decoder", "lstm_decoder", "trafo_decoder", "later_decoder", "feature_batch_norm"),
    *("cgmlp", "merge_conv_kernel"),
}
"""Fields that describe the model."""
REMARKS = {
    *("variant", "checkpoint", "seed", "eval_outputs", "gradient_mode", "params_without_grad", "sample_lens"),
    *("target_lens", "targets_note", "torch", "returnn_commit", "i6_experiments_commit", "num_params"),
    "state_dict_shapes",
}
"""Fields that say where the numbers come from."""

ACTIVATIONS = {"swish": "swish", "silu": "swish", "relu(x)**2": "relu2", "relu_square": "relu2", "relu": "relu"}
CLIPPED = {"with_bias": False, "with_linear_pos": False, "with_pos_bias": False, "learnable_pos_emb": True}
TRANSFORMER_XL = {"with_bias": True, "with_linear_pos": True, "with_pos_bias": True, "learnable_pos_emb": False}

STATED = {
    "vocab": "tokenizer.size",
    "num_enc_layers": "encoder.layers",
    "enc_dim": "encoder.dim",
    "enc_ff_dim": "encoder.feed_forward.dim",
    "enc_att_num_heads": "encoder.attention.heads",
    "conv_kernel_size": "encoder.convolution.kernel",
    "cgmlp.hidden_per_half": "encoder.gating.dim",
    "cgmlp.kernel": "encoder.gating.kernel",
    "merge_conv_kernel": "encoder.merge_kernel",
    "lstm_decoder.embed_dim": "decoder.embedding_dim",
    "lstm_decoder.key_dim": "decoder.attention_dim",
    "lstm_decoder.att_num_heads": "decoder.attention_heads",
    "lstm_decoder.lstm_dim": "decoder.lstm_dim",
    "lstm_decoder.readout_dim": "decoder.readout_dim",
    "trafo_decoder.num_layers": "decoder.layers",
    "trafo_decoder.dim": "decoder.dim",
    "trafo_decoder.ff_dim": "decoder.feed_forward.dim",
    "later_decoder.num_layers": "decoder.layers",
    "later_decoder.dim": "decoder.dim",
}
"""What config.json and the checkpoint both say: its field, and ours."""

DIMS = {
    "vocab": "tokenizer.size",
    "num_layers": "encoder.layers",
    "enc_dim": "encoder.dim",
    "enc_ff_dim": "encoder.feed_forward.dim",
    "heads": "encoder.attention.heads",
    "embed": "decoder.embedding_dim",
    "key": "decoder.attention_dim",
    "lstm": "decoder.lstm_dim",
    "readout": "decoder.readout_dim",
}
"""The same of dims.json."""


class Description:
    """Reads config.json field by field; every complaint names the field, and what else in the file is unknown."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config, self.where = config, where
        self.unknown = sorted(set(config) - KNOWN - REMARKS - set(DIMS))

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

    def activation(self, path: str) -> str:
        given: str = self.get(path, str)
        if given not in ACTIVATIONS:
            raise self.refuse(f"{path} is {given!r}, known are {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[given]


def experiment_of(config: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> Experiment:
    """Our tree for a description and its checkpoint.  UserError names what aedo has no model for."""
    said = Description(flattened(config) if is_by_parts(config) else config, where)
    gated = "cgmlp" in config or "cgmlp" in (config.get("encoder") or {})
    own = "merge_conv_kernel" if gated else "conv_kernel_size"
    for path in ("num_enc_layers", "enc_dim", "enc_ff_dim", "enc_att_num_heads", own, "vocab"):
        said.get(path, int)
    _check_attention(said)
    if gated:
        check_gating(said)
    if said.get("eos_idx", int, 0) != 0 or said.get("blank_idx", int, said.get("vocab", int)) != said.get("vocab", int):
        raise said.refuse("EOS must be label 0 and the blank the last one")
    unseen = infer.Unseen(
        said.get("behavior_version", int),
        said.activation("ff_activation"),
        said.get("lstm_decoder.use_zoneout_output", bool, False),
    )
    fields = {**_features(said), **_frontend(said), **({} if gated else _norm(said)), **_decoder(said)}
    fields["loss.label_smoothing"] = said.get("label_smoothing", float, 0.1)
    fields["loss.decoder_scale"] = said.get("aed_loss_scale", float, 1.0)
    try:
        experiment = infer.experiment_of(state, unseen, where)
        for path, value in (*fields.items(), ("ctc.scales", _scales(said, experiment))):
            experiment = experiment.with_(path, value)
    except UserError as error:
        raise said.refuse(str(error).removeprefix(f"{where}: ")) from None
    except KeyError as error:
        raise said.refuse(str(error.args[0])) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise said.refuse(f"{path}: {first['msg']}") from None
    compare(said, experiment, STATED)
    return experiment


def compare(said: Description, part: Part, stated_as: Mapping[str, str]) -> None:
    """UserError where the description states other dimensions than the checkpoint has."""
    for theirs, ours in stated_as.items():
        value: Any = part
        for name in ours.split("."):
            value = getattr(value, name, None)
        stated = said.get(theirs, int, value)
        if value is not None and stated != value:
            raise said.refuse(f"{theirs} is {stated}, but the checkpoint's is {value}")


def _scales(said: Description, experiment: Experiment) -> tuple[float, ...]:
    """Weights of the checkpoint's CTC heads; the head of a model without decoder has weight 1."""
    layers = said.get("aux_loss_layers", list, [])
    scales = dict(zip(layers, said.get("aux_loss_scales", list, [1.0] * len(layers))))
    return tuple(scales.get(layer, 1.0) for layer in experiment.ctc.layers)


def _check_attention(said: Description) -> None:
    flags = {name: said.get(f"self_att.{name}", bool) for name in (*CLIPPED, "separate_pos_emb_per_head")}
    shared = flags.pop("separate_pos_emb_per_head")
    if (flags, shared) not in ((CLIPPED, False), (TRANSFORMER_XL, True)):
        raise said.refuse(f"self_att: no attention for {', '.join(f'{k} {v}' for k, v in flags.items())}")


def check_gating(said: Description) -> None:
    """UserError where the convolutional gating is not ours."""
    if not said.get("cgmlp.activation", str, "gelu").startswith("gelu"):
        raise said.refuse(f"cgmlp.activation is {said.config['cgmlp']['activation']!r}, known is gelu")
    if said.get("cgmlp.gate_activation", str, "identity") != "identity":
        raise said.refuse(f"cgmlp.gate_activation is {said.config['cgmlp']['gate_activation']!r}, known is identity")


def _features(said: Description) -> dict[str, Any]:
    rate, base = said.get("log_mel.sampling_rate", int, 16000), said.get("log_mel", dict, {}).get("log_base", "10")
    exponent = re.fullmatch(r"exp\(([\d.]+)\)", str(base))
    try:
        base = math.exp(float(exponent[1])) if exponent else float(base)
    except (TypeError, ValueError):
        raise said.refuse(f"log_mel.log_base is {base!r}, expected a number or exp(number)") from None
    window, hop = said.get("log_mel.window_len", float, 0.025), said.get("log_mel.step_len", float, 0.01)
    if rate != 16000:
        raise said.refuse(f"log_mel.sampling_rate is {rate}, expected 16000")
    norm = numbers(said.get("feature_batch_norm", str, ""), "eps", "momentum")
    return {
        **{f"features.normalize.{name}": value for name, value in norm.items()},
        "features.dim": said.get("log_mel.dim", int, 80),
        "features.window": round(window * rate),
        "features.hop": round(hop * rate),
        "features.fft": said.get("log_mel.n_fft", int, 1 << (round(window * rate) - 1).bit_length()),
        "features.floor": said.get("log_mel.eps", float, 1e-10),
        "features.log_base": base,
    }


def _frontend(said: Description) -> dict[str, Any]:
    if not said.get("conv_frontend", dict, {}):
        return {}
    strides, pool = said.get("conv_frontend.strides", list), said.get("conv_frontend.pool_after_first", list, [1, 1])
    try:
        simple = all(across == 1 for _, across in strides) and pool[0] == 1
        times, bands = [along for along, _ in strides], pool[1]
    except (TypeError, ValueError, IndexError):
        raise said.refuse("conv_frontend: strides and pool_after_first must be pairs of time and bands") from None
    if not simple or said.get("conv_frontend.activation", str, "relu") != "relu":
        raise said.refuse("conv_frontend: only time may be strided, only bands pooled, and the activation be relu")
    return {"frontend.time_strides": times, "frontend.band_pool": bands}


def _norm(said: Description) -> dict[str, Any]:
    given = said.get("conv_norm", str)
    fields = {f"encoder.convolution.norm.{name}": value for name, value in numbers(given, "eps", "momentum").items()}
    if "BatchNorm" in given:
        return {**fields, "encoder.convolution.norm.masked": "use_mask=True" in given}
    if "LayerNorm" in given:
        return fields
    raise said.refuse(f"conv_norm is {given!r}, known are BatchNorm and LayerNorm")


def _decoder(said: Description) -> dict[str, Any]:
    if said.config.get("later_decoder"):
        return {
            "decoder.heads": said.get("later_decoder.num_heads", int),
            "decoder.shared_embedding": said.get("later_decoder.shared_embedding", bool),
        }
    if said.config.get("trafo_decoder"):
        if said.get("trafo_decoder.pos_enc", str, "sinusoidal") != "sinusoidal":
            raise said.refuse(f"trafo_decoder.pos_enc is {said.config['trafo_decoder']['pos_enc']!r}")
        return {
            "decoder.heads": said.get("trafo_decoder.num_heads", int),
            "decoder.embedding_scale": said.get("trafo_decoder.input_embedding_scale", float, 1.0),
            "decoder.shared_embedding": said.get("trafo_decoder.share_embedding", bool, False),
            "decoder.feed_forward.activation": said.activation("trafo_decoder.ff_activation"),
        }
    if said.config.get("lstm_decoder"):
        return {
            "decoder.zone_cell": said.get("lstm_decoder.zoneout_cell", float, 0.15),
            "decoder.zone_hidden": said.get("lstm_decoder.zoneout_output", float, 0.05),
        }
    if said.get("decoder", str, "none") != "none":
        raise said.refuse(f"decoder is {said.config['decoder']!r} without its dimensions")
    return {}
