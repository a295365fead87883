"""Names and layouts of the Transformer decoder in RETURNN's PyTorch checkpoints."""

from __future__ import annotations

import re

from aedo.model.aed import AED
from aedo.model.transformer_decoder import TransformerDecoder

# Our name below `decoder.` (a pattern) -> RETURNN's.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"embedding\.weight", r"input_embedding.weight"),
    (r"layers\.(\d+)\.attention_norm\.weight", r"layers.\1.self_att_layer_norm.scale"),
    (r"layers\.(\d+)\.attention_norm\.bias", r"layers.\1.self_att_layer_norm.bias"),
    (r"layers\.(\d+)\.attention\.qkv\.(weight|bias)", r"layers.\1.self_att.qkv.\2"),
    (r"layers\.(\d+)\.attention\.out\.(weight|bias)", r"layers.\1.self_att.proj.\2"),
    (r"layers\.(\d+)\.cross_attention_norm\.weight", r"layers.\1.cross_att_layer_norm.scale"),
    (r"layers\.(\d+)\.cross_attention_norm\.bias", r"layers.\1.cross_att_layer_norm.bias"),
    (r"layers\.(\d+)\.cross_attention\.query\.(weight|bias)", r"layers.\1.cross_att.q.\2"),
    (r"layers\.(\d+)\.cross_attention\.key_value\.(weight|bias)", r"layers.\1.cross_att.kv.\2"),
    (r"layers\.(\d+)\.cross_attention\.out\.(weight|bias)", r"layers.\1.cross_att.proj.\2"),
    (r"layers\.(\d+)\.ff_norm\.weight", r"layers.\1.ff_layer_norm.scale"),
    (r"layers\.(\d+)\.ff_norm\.bias", r"layers.\1.ff_layer_norm.bias"),
    (r"layers\.(\d+)\.ff\.hidden\.(weight|bias)", r"layers.\1.ff.linear_ff.\2"),
    (r"layers\.(\d+)\.ff\.out\.(weight|bias)", r"layers.\1.ff.linear_out.\2"),
    (r"final_norm\.weight", r"final_layer_norm.scale"),
    (r"final_norm\.bias", r"final_layer_norm.bias"),
    (r"output\.weight", r"logits.weight"),
)


def transformer_name(name: str, model: AED) -> tuple[str, bool] | None:
    """RETURNN's name of a parameter of `model.decoder` and whether the matrix is transposed there.

    None for every other parameter, and where the decoder is none of ours.
    """
    if not name.startswith("decoder.") or not isinstance(model.decoder, TransformerDecoder):
        return None
    head = re.fullmatch(r"decoder\.auxiliary\.(\d+)\.(norm|output)\.(weight|bias)", name)
    if head and head[2] == "norm":
        return f"dec_aux_final_layer_norm_{head[1]}.{'scale' if head[3] == 'weight' else 'bias'}", False
    if head:  # kept like an embedding where the decoder's own output layer is one
        return f"dec_aux_logits_{head[1]}.weight", model.decoder.output is not None
    found = renamed(name.removeprefix("decoder."))
    return None if found is None else (f"decoder.{found[0]}", found[1])


def renamed(name: str) -> tuple[str, bool] | None:
    """As `transformer_name`, for the names inside the decoder, which those of a language model are, too."""
    for pattern, replacement in _NAMES:
        match = re.fullmatch(pattern, name)
        if match:
            foreign = match.expand(replacement)
            return foreign, foreign.endswith(".weight") and foreign != "input_embedding.weight"
    return None


def copies(model: AED) -> dict[str, str]:
    """RETURNN's further names of parameters that it keeps twice: copy -> original.

    Where embedding and output share a matrix, RETURNN's checkpoints hold it under both names.
    """
    if isinstance(model.decoder, TransformerDecoder) and model.decoder.output is None:
        return {"decoder.logits.weight": "decoder.input_embedding.weight"}
    return {}
