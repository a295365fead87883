"""Names and layouts of RETURNN's PyTorch checkpoints of this model family, and the way to ours.

RETURNN keeps linear weights as [in, out], ours are torch's [out, in]; everything else keeps its layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from aedo.errors import UserError
from aedo.interop.match import Misfits
from aedo.interop.returnn_ebranchformer import ebranchformer_name
from aedo.interop.returnn_transformer import copies, transformer_name
from aedo.model.aed import AED

Transform = Callable[[Tensor], Tensor]


def _copy(value: Tensor) -> Tensor:
    return value


def _transpose(value: Tensor) -> Tensor:
    return value.T


def layout(transposed: bool) -> Transform:
    """The change of layout of a matrix that stands transposed there, or of anything that does not."""
    return _transpose if transposed else _copy


# Our name (a pattern) -> RETURNN's name, and how the value changes on the way (both ways alike: its own inverse).
_RULES: tuple[tuple[str, str, Transform], ...] = (
    (r"features\.normalize\.running_mean", r"feature_batch_norm.running_mean", _copy),
    (r"features\.normalize\.running_var", r"feature_batch_norm.running_variance", _copy),
    (r"frontend\.convolutions\.(\d+)\.weight", r"encoder.input_layer.conv_layers.\1.filter", _copy),
    (r"frontend\.convolutions\.(\d+)\.bias", r"encoder.input_layer.conv_layers.\1.bias", _copy),
    (r"frontend\.projection\.weight", r"encoder.input_projection.weight", _transpose),
    (r"encoder\.layers\.(\d+)\.ff([12])\.hidden\.weight", r"encoder.layers.\1.ffn\2.linear_ff.weight", _transpose),
    (r"encoder\.layers\.(\d+)\.ff([12])\.hidden\.bias", r"encoder.layers.\1.ffn\2.linear_ff.bias", _copy),
    (r"encoder\.layers\.(\d+)\.ff([12])\.out\.weight", r"encoder.layers.\1.ffn\2.linear_out.weight", _transpose),
    (r"encoder\.layers\.(\d+)\.ff([12])\.out\.bias", r"encoder.layers.\1.ffn\2.linear_out.bias", _copy),
    (r"encoder\.layers\.(\d+)\.ff([12])_norm\.weight", r"encoder.layers.\1.ffn\2_layer_norm.scale", _copy),
    (r"encoder\.layers\.(\d+)\.ff([12])_norm\.bias", r"encoder.layers.\1.ffn\2_layer_norm.bias", _copy),
    (r"encoder\.layers\.(\d+)\.attention_norm\.weight", r"encoder.layers.\1.self_att_layer_norm.scale", _copy),
    (r"encoder\.layers\.(\d+)\.attention_norm\.bias", r"encoder.layers.\1.self_att_layer_norm.bias", _copy),
    (r"encoder\.layers\.(\d+)\.convolution_norm\.weight", r"encoder.layers.\1.conv_layer_norm.scale", _copy),
    (r"encoder\.layers\.(\d+)\.convolution_norm\.bias", r"encoder.layers.\1.conv_layer_norm.bias", _copy),
    (r"encoder\.layers\.(\d+)\.final_norm\.weight", r"encoder.layers.\1.final_layer_norm.scale", _copy),
    (r"encoder\.layers\.(\d+)\.final_norm\.bias", r"encoder.layers.\1.final_layer_norm.bias", _copy),
    (r"encoder\.layers\.(\d+)\.attention\.qkv\.weight", r"encoder.layers.\1.self_att.qkv.weight", _transpose),
    (r"encoder\.layers\.(\d+)\.attention\.qkv\.bias", r"encoder.layers.\1.self_att.qkv.bias", _copy),
    (r"encoder\.layers\.(\d+)\.attention\.out\.weight", r"encoder.layers.\1.self_att.proj.weight", _transpose),
    (r"encoder\.layers\.(\d+)\.attention\.out\.bias", r"encoder.layers.\1.self_att.proj.bias", _copy),
    (
        r"encoder\.layers\.(\d+)\.attention\.position\.table\.weight",
        r"encoder.layers.\1.self_att.learned_pos_emb.pos_emb",
        _copy,
    ),
    (
        r"encoder\.layers\.(\d+)\.attention\.position\.projection\.weight",
        r"encoder.layers.\1.self_att.linear_pos.weight",
        _transpose,
    ),
    (r"encoder\.layers\.(\d+)\.attention\.position\.content_bias", r"encoder.layers.\1.self_att.pos_bias_u", _copy),
    (r"encoder\.layers\.(\d+)\.attention\.position\.position_bias", r"encoder.layers.\1.self_att.pos_bias_v", _copy),
    (
        r"encoder\.layers\.(\d+)\.convolution\.pointwise_in\.weight",
        r"encoder.layers.\1.conv_block.positionwise_conv1.weight",
        _transpose,
    ),
    (
        r"encoder\.layers\.(\d+)\.convolution\.pointwise_in\.bias",
        r"encoder.layers.\1.conv_block.positionwise_conv1.bias",
        _copy,
    ),
    (
        r"encoder\.layers\.(\d+)\.convolution\.pointwise_out\.weight",
        r"encoder.layers.\1.conv_block.positionwise_conv2.weight",
        _transpose,
    ),
    (
        r"encoder\.layers\.(\d+)\.convolution\.pointwise_out\.bias",
        r"encoder.layers.\1.conv_block.positionwise_conv2.bias",
        _copy,
    ),
    (
        r"encoder\.layers\.(\d+)\.convolution\.depthwise\.weight",
        r"encoder.layers.\1.conv_block.depthwise_conv.filter",
        _copy,
    ),
    (
        r"encoder\.layers\.(\d+)\.convolution\.depthwise\.bias",
        r"encoder.layers.\1.conv_block.depthwise_conv.bias",
        _copy,
    ),
    (
        r"encoder\.layers\.(\d+)\.convolution\.norm\.running_mean",
        r"encoder.layers.\1.conv_block.norm.running_mean",
        _copy,
    ),
    (
        r"encoder\.layers\.(\d+)\.convolution\.norm\.running_var",
        r"encoder.layers.\1.conv_block.norm.running_variance",
        _copy,
    ),
    (r"decoder\.attention\.key\.weight", r"enc_ctx.weight", _transpose),
    (r"decoder\.attention\.key\.bias", r"enc_ctx.bias", _copy),
    (r"decoder\.attention\.fertility\.weight", r"inv_fertility.weight", _transpose),
    (r"decoder\.attention\.feedback\.weight", r"weight_feedback.weight", _transpose),
    (r"decoder\.attention\.query\.weight", r"s_transformed.weight", _transpose),
    (r"decoder\.attention\.energy\.weight", r"energy.weight", _transpose),
    (r"decoder\.embedding\.weight", r"target_embed.weight", _copy),
    (r"decoder\.lstm\.weight_input", r"s.ff_weight", _copy),
    (r"decoder\.lstm\.weight_hidden", r"s.rec_weight", _copy),
    (r"decoder\.lstm\.bias", r"s.bias", _copy),
    (r"decoder\.readout\.weight", r"readout_in.weight", _transpose),
    (r"decoder\.readout\.bias", r"readout_in.bias", _copy),
    (r"decoder\.output\.weight", r"output_prob.weight", _transpose),
    (r"decoder\.output\.bias", r"output_prob.bias", _copy),
)


def foreign_name(name: str, model: AED) -> tuple[str, Transform]:
    """RETURNN's name of our parameter or buffer, and the change of layout between the two (its own inverse).

    Two names depend on the model: the convolution module's norm (scale and bias for a layer norm, gamma and beta for a
    batch norm) and the CTC head on the top layer of a model without decoder (`enc_logits`).
    """
    norm = re.fullmatch(r"encoder\.layers\.(\d+)\.convolution\.norm\.(weight|bias)", name)
    if norm:
        batch = f"{name.rsplit('.', 1)[0]}.running_mean" in dict(model.named_buffers())
        ours = {"weight": "gamma" if batch else "scale", "bias": "beta" if batch else "bias"}
        return f"encoder.layers.{norm[1]}.conv_block.norm.{ours[norm[2]]}", _copy
    if name.startswith("ctc_heads.shared."):
        raise UserError(
            f"{name}: one CTC head for several layers (ctc.shared), RETURNN's checkpoints have one for each"
        )
    head = re.fullmatch(r"ctc_heads\.(\d+)\.(weight|bias)", name)
    if head:
        top = model.decoder is None and int(head[1]) == len(model.encoder.layers)
        foreign = "enc_logits" if top else f"enc_aux_logits_{head[1]}"
        return f"{foreign}.{head[2]}", _transpose if head[2] == "weight" else _copy
    of_transformer = transformer_name(name, model)
    if of_transformer:
        foreign, transposed = of_transformer
        return foreign, layout(transposed)
    return plain_name(name)


def plain_name(name: str) -> tuple[str, Transform]:
    """As `foreign_name`, for the names that do not depend on the model."""
    of_ebranchformer = ebranchformer_name(name)
    if of_ebranchformer:
        foreign, transposed = of_ebranchformer
        return foreign, layout(transposed)
    for pattern, replacement, transform in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement), transform
    raise UserError(f"{name}: this parameter has no counterpart in RETURNN's checkpoints")


def import_state(state: Mapping[str, Tensor], model: AED, where: str = "the checkpoint") -> None:
    """Copy a RETURNN state dict into the model.

    UserError lists everything missing, left over or misshaped; then nothing has changed.
    """
    model.load_state_dict(convert_state(state, model, where))


def convert_state(state: Mapping[str, Tensor], model: AED, where: str = "the checkpoint") -> dict[str, Tensor]:
    """A RETURNN state dict under our names and in our layouts; `where` names it in messages.

    Of the model only names and shapes count: it may lie on the meta device.
    """
    state = blank_moved(state, model)
    return fitted(state, model.state_dict(), lambda name: foreign_name(name, model), copies(model), where)


def fitted(
    state: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    name_of: Callable[[str], tuple[str, Transform]],
    twice: Mapping[str, str],
    where: str,
) -> dict[str, Tensor]:
    """`state` under the names and in the shapes of `ours`.

    name_of: the foreign name of ours, and the change of layout.  twice: copies in the state, and their originals.
    """
    values: dict[str, Tensor] = {}
    misfits, known = Misfits(), set(twice)
    for name, target in ours.items():
        foreign, transform = name_of(name)
        known.add(foreign)
        if foreign not in state:
            misfits.missing[foreign] = tuple(transform(target).shape)
            continue
        given = state[foreign]
        value = transform(given) if given.ndim == target.ndim else given
        if value.shape != target.shape:
            wanted = list(transform(target).shape)
            misfits.others.append(f"shape: {foreign} is {list(given.shape)}, the model needs {wanted} (our {name})")
        values[name] = value.contiguous().clone()
    misfits.left_over = {name: tuple(value.shape) for name, value in state.items() if name not in known}
    for copy, original in twice.items():
        if copy in state and original in state and not torch.equal(state[copy], state[original]):
            misfits.others.append(f"differs: {copy} is not the matrix of {original}, which it shares in our model")
    misfits.raise_any(where)
    return values


def export_state(model: AED) -> dict[str, Tensor]:
    """The model's parameters and buffers under RETURNN's names and in its layouts.

    UserError names a parameter that has no counterpart there.
    """
    exported: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        foreign, transform = foreign_name(name, model)
        exported[foreign] = transform(value.detach().cpu()).contiguous().clone()
    for copy, original in copies(model).items():
        exported[copy] = exported[original].clone()
    return dict(blank_moved(exported, model))


def blank_moved(state: Mapping[str, Tensor], model: AED) -> Mapping[str, Tensor]:
    """A state dict under RETURNN's names with blank and EOS of the CTC heads changed round where need be.

    Heads of its chunked models have the blank first, where EOS stands otherwise, and last an output without a use.
    """
    if model.streaming is None:
        return state
    names = {f"enc_aux_logits_{layer}.{what}" for layer in model.ctc_layers for what in ("weight", "bias")}
    names |= {"enc_logits.weight", "enc_logits.bias"}
    return {name: swapped(value) if name in names else value for name, value in state.items()}


def swapped(values: Tensor) -> Tensor:
    """[..., V + 1] with the first and the last changed round."""
    return torch.cat([values[..., -1:], values[..., 1:-1], values[..., :1]], -1)
