"""The form of config.json that describes a model part by part: front-end, encoder, CTC, decoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FIELDS = {
    *("frontend", "encoder", "decoder", "aux_ctc_layers", "aux_ctc", "dec_aux_layers", "dec_aux"),
    *("loss_normalization", "decoder_targets"),
}
"""Fields of this form that describe the model, beside those of the other."""


def is_by_parts(config: Mapping[str, Any]) -> bool:
    return all(isinstance(config.get(part), Mapping) for part in ("frontend", "encoder", "decoder"))


def flattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the form whose fields all stand at the top; what is not there stays away.

    The decoder stays under its own name: it is one of the later kind, whose checkpoint shows what it is.
    """
    frontend, encoder, decoder = config["frontend"], config["encoder"], config["decoder"]
    flat = {key: value for key, value in config.items() if key not in FIELDS}
    names = {
        "num_enc_layers": "num_layers",
        "enc_dim": "dim",
        "enc_ff_dim": "ff_dim",
        "enc_att_num_heads": "num_heads",
        "conv_kernel_size": "conv_kernel_size",
        "ff_activation": "ff_activation",
        "conv_norm": "conv_norm",
        "cgmlp": "cgmlp",
        "merge_conv_kernel": "merge_conv_kernel",
    }
    flat |= {ours: encoder[theirs] for ours, theirs in names.items() if theirs in encoder}
    if str(encoder.get("self_att", "")).startswith("Transformer-XL"):
        flags = {"with_bias": True, "with_linear_pos": True, "with_pos_bias": True, "learnable_pos_emb": False}
        flat["self_att"] = {**flags, "separate_pos_emb_per_head": True}
    for ours, theirs in (("log_mel", "log_mel"), ("conv_frontend", "conv")):
        if theirs in frontend:
            flat[ours] = frontend[theirs]
    flat |= {"aux_loss_layers": config.get("aux_ctc_layers", []), "later_decoder": decoder}
    if "feature_batch_norm" in frontend:
        flat["feature_batch_norm"] = frontend["feature_batch_norm"]
    return flat


def numbers(text: str, *names: str) -> dict[str, float]:
    """`eps 1e-3, momentum=0.1` -> each of the names with its value."""
    found = re.findall(rf"\b({'|'.join(names)})[ =]([\d.e-]*\d)", text)
    return {name: float(value) for name, value in found}
