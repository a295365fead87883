"""Checkpoints of RETURNN's TensorFlow backend: the attention model with Conformer encoder and LSTM decoder.

TensorFlow's variables become a state dict of RETURNN's PyTorch backend; from there on both ways are one.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from aedo.errors import UserError
from aedo.interop.checkpoint_file import ForeignCheckpoint, shown
from aedo.interop.match import Misfits
from aedo.interop.tf_variables import SLOTS

TIMEOUT = 1800
"""Seconds until a reader that hangs is given up."""


def _same(value: Tensor) -> Tensor:
    return value


def _filter(value: Tensor) -> Tensor:
    """[*window, in, out] -> [out, in, *window]."""
    return value.permute(value.ndim - 1, value.ndim - 2, *range(value.ndim - 2))


def _flat(value: Tensor) -> Tensor:
    return value.reshape(-1)


_NORM = {"mean": "running_mean", "variance": "running_variance", "gamma": "gamma", "beta": "beta"}
_LSTM = "output/rec/s/rec/lstm_cell"
_BLOCK = r"conformer_block_(?P<layer>\d{2,3})_"

# TensorFlow's name (a pattern; `layer` counts from 1) -> RETURNN's PyTorch name, and the change of layout.
_RULES: tuple[tuple[str, str, Callable[[Tensor], Tensor]], ...] = (
    (r"conv0/W", "encoder.input_layer.conv_layers.0.filter", _filter),
    (r"conv0/bias", "encoder.input_layer.conv_layers.0.bias", _same),
    (r"subsample_conv0/W", "encoder.input_layer.conv_layers.1.filter", _filter),
    (r"subsample_conv0/bias", "encoder.input_layer.conv_layers.1.bias", _same),
    (r"subsample_conv1/W", "encoder.input_layer.conv_layers.2.filter", _filter),
    (r"subsample_conv1/bias", "encoder.input_layer.conv_layers.2.bias", _same),
    (r"source_linear/W", "encoder.input_projection.weight", _same),
    (_BLOCK + r"ffmod_([12])_ff1/W", r"{layer}.ffn\2.linear_ff.weight", _same),
    (_BLOCK + r"ffmod_([12])_ff1/b", r"{layer}.ffn\2.linear_ff.bias", _same),
    (_BLOCK + r"ffmod_([12])_ff2/W", r"{layer}.ffn\2.linear_out.weight", _same),
    (_BLOCK + r"ffmod_([12])_ff2/b", r"{layer}.ffn\2.linear_out.bias", _same),
    (_BLOCK + r"ffmod_([12])_ln/(scale|bias)", r"{layer}.ffn\2_layer_norm.\3", _same),
    (_BLOCK + r"self_att/QKV", r"{layer}.self_att.qkv.weight", _same),
    (_BLOCK + r"self_att_linear/W", r"{layer}.self_att.proj.weight", _same),
    (_BLOCK + r"self_att_ln_rel_pos_enc/encoding_matrix", r"{layer}.self_att.learned_pos_emb.pos_emb", _same),
    (_BLOCK + r"self_att_ln/(scale|bias)", r"{layer}.self_att_layer_norm.\2", _same),
    (_BLOCK + r"conv_mod_pointwise_conv([12])/W", r"{layer}.conv_block.positionwise_conv\2.weight", _same),
    (_BLOCK + r"conv_mod_pointwise_conv([12])/b", r"{layer}.conv_block.positionwise_conv\2.bias", _same),
    (_BLOCK + r"conv_mod_depthwise_conv2/W", r"{layer}.conv_block.depthwise_conv.filter", _filter),
    (_BLOCK + r"conv_mod_depthwise_conv2/bias", r"{layer}.conv_block.depthwise_conv.bias", _same),
    (_BLOCK + r"conv_mod_ln/(scale|bias)", r"{layer}.conv_layer_norm.\2", _same),
    (_BLOCK + r"ln/(scale|bias)", r"{layer}.final_layer_norm.\2", _same),
    (r"(enc_ctx)/W", r"\1.weight", _same),
    (r"(enc_ctx)/b", r"\1.bias", _same),
    (r"(inv_fertility)/W", r"\1.weight", _same),
    (r"output/rec/target_embed0?/W", "target_embed.weight", _same),
    (r"output/rec/(weight_feedback|s_transformed|energy|readout_in|output_prob)/W", r"\1.weight", _same),
    (r"output/rec/(readout_in|output_prob)/b", r"\1.bias", _same),
)
_BATCH_NORM = _BLOCK + r"conv_mod_bn/batch_norm/(?:.*[_/])?(mean|variance|gamma|beta)"
"""The middle of these names differs between versions of RETURNN."""


def read_tf_checkpoint(index: Path) -> ForeignCheckpoint:
    """The checkpoint whose .index file is given (its prefix will do), under RETURNN's PyTorch names.

    UserError without TensorFlow, for a damaged checkpoint, and for variables that are missing or unknown.
    """
    prefix = index.with_suffix("") if index.suffix in (".index", ".meta") else index
    index = Path(f"{prefix}.index")
    if not index.is_file():
        raise UserError(f"{index}: no such file; a TensorFlow checkpoint is NAME.index with NAME.data-00000-of-00001")
    variables = read_variables(prefix)
    step = int(variables.pop("global_step", torch.tensor(0)))
    epoch = re.search(r"epoch\.(\d{1,9})$", prefix.name)
    return ForeignCheckpoint(index, pytorch_state(variables, str(index)), int(epoch[1]) if epoch else 0, max(0, step))


def read_variables(prefix: Path) -> dict[str, Tensor]:
    """The variables of the checkpoint, without those of its optimizer."""
    from safetensors.torch import load_file

    if find_spec("tensorflow") is None:
        raise UserError("reading a TensorFlow checkpoint needs TensorFlow: pip install 'aedo[tf]'")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "variables.safetensors"
        command = [sys.executable, "-m", "aedo.interop.tf_variables", str(prefix.absolute()), str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise UserError(f"{prefix}.index: TensorFlow did not read it within {TIMEOUT} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            reason = last.removeprefix("problem: ") if done.returncode == 3 else f"exit {done.returncode}: {last:.200}"
            raise UserError(
                f"{prefix}.index: TensorFlow cannot read it ({shown(reason)}); copy all files of the checkpoint anew"
            )
        return dict(load_file(out))


def pytorch_state(variables: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """RETURNN's PyTorch names and layouts for its TensorFlow variables; UserError lists what has no counterpart.

    The `ctc` layer, which reads the encoder's output, becomes the CTC head of the top layer.
    """
    state: dict[str, Tensor] = {}
    misfits = Misfits()
    kernel, bias = variables.get(f"{_LSTM}/kernel"), variables.get(f"{_LSTM}/bias")
    for name, value in variables.items():
        if name in (f"{_LSTM}/kernel", f"{_LSTM}/bias", "ctc/W", "ctc/b") or re.fullmatch(SLOTS, name):
            continue
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            misfits.others.append(f"{shown(name)}: not finite floating-point numbers")
            continue
        renamed = _rename(name)
        if renamed is None:
            misfits.left_over[name] = tuple(value.shape)
            continue
        new, transform = renamed
        if new in state:
            misfits.others.append(f"ambiguous: {shown(name)} is a second variable for {new}")
        state[new] = transform(value).float().contiguous()
    if kernel is None or bias is None:
        misfits.missing.update(
            {f"{_LSTM}/{part}": () for part in ("kernel", "bias") if f"{_LSTM}/{part}" not in variables}
        )
    else:
        try:
            state |= _lstm(kernel, bias)
        except ValueError as error:
            misfits.others.append(str(error))
    layers = [int(match[1]) for match in (re.match(r"encoder\.layers\.(\d+)\.", name) for name in state) if match]
    if layers and "ctc/W" in variables:
        head = f"enc_aux_logits_{max(layers) + 1}"
        state[f"{head}.weight"] = variables["ctc/W"].float()
        state |= {f"{head}.bias": variables["ctc/b"].float()} if "ctc/b" in variables else {}
    misfits.raise_any(where)
    return state


def _rename(name: str) -> tuple[str, Callable[[Tensor], Tensor]] | None:
    norm = re.fullmatch(_BATCH_NORM, name)
    if norm:
        return f"encoder.layers.{int(norm['layer']) - 1}.conv_block.norm.{_NORM[norm[2]]}", _flat
    for pattern, replacement, transform in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            layer = f"encoder.layers.{int(match['layer']) - 1}" if "layer" in match.groupdict() else ""
            return match.expand(replacement).replace("{layer}", layer), transform
    return None


def _lstm(kernel: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """TensorFlow's cell -> RETURNN's.

    kernel [I + H, 4H] with the gates i, j, f, o; bias [4H].  There the gates are j, i, f, o, and the forget bias of one
    that TensorFlow adds at run time is part of the bias.
    """
    if kernel.ndim != 2 or bias.ndim != 1 or kernel.shape[1] != len(bias) or len(bias) % 4 or not len(bias):
        raise ValueError(f"shape: {_LSTM}/kernel is {list(kernel.shape)}, {_LSTM}/bias is {list(bias.shape)}")
    units = len(bias) // 4
    if kernel.shape[0] <= units:
        raise ValueError(f"shape: {_LSTM}/kernel has {kernel.shape[0]} rows for {units} units")
    enter, candidate, forget, leave = kernel.float().T.chunk(4)  # each [H, I + H]
    weights = torch.cat([candidate, enter, forget, leave])
    bias_enter, bias_candidate, bias_forget, bias_leave = bias.float().chunk(4)
    return {
        "s.ff_weight": weights[:, :-units].contiguous(),
        "s.rec_weight": weights[:, -units:].contiguous(),
        "s.bias": torch.cat([bias_candidate, bias_enter, bias_forget + 1.0, bias_leave]),
    }
