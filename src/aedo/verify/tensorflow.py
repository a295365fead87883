"""Names of the values in tf_outputs.npz: `L:<layer>` for outputs, `S:<layer>:<axis>` for lengths."""

from __future__ import annotations

import re

import numpy as np
from torch import Tensor

from aedo.model.aed import AED
from aedo.verify.folder import Array
from aedo.verify.stations import Stations, Value, head_name

_OUTPUTS = {
    r"source": "log_mel",
    r"conv_merged": "conv_out",
    r"source_linear": "enc_in",
    r"conformer_block_(\d+)_ffmod_1_res": r"enc_layer_\1/ff1",
    r"conformer_block_(\d+)_self_att_res": r"enc_layer_\1/attention",
    r"conformer_block_(\d+)_conv_mod_res": r"enc_layer_\1/convolution",
    r"conformer_block_(\d+)": r"enc_layer_\1",
    r"encoder": "enc",
    r"enc_ctx": "enc_ctx",
    r"inv_fertility": "inv_fertility",
    r"output/s": "dec_s",
    r"output/att": "dec_att",
    r"output/att_weights": "att_weights",
    r"output/energy": "dec_energy",
}


def value_of(name: str, reference: Array, model: AED, stations: Stations, totals: dict[str, Tensor]) -> Value | None:
    """Our value for an entry of tf_outputs.npz; None where we have none."""
    values, top = stations.values, head_name(model, len(model.encoder.layers))
    layer = name.removeprefix("L:")
    if name.startswith("L:"):
        if layer == "ctc" and f"ctc_log_probs_{top}" in values:
            return _like(reference, values[f"ctc_log_probs_{top}"])
        if layer == "output/output_prob" and "dec_logits" in values:
            return _like(reference, values["dec_logits"])
        for pattern, station in _OUTPUTS.items():
            match = re.fullmatch(pattern, layer)
            if match:
                number = str(int(match[1])) if match.groups() else ""
                return values.get(station.replace(r"\1", number))
    size = re.fullmatch(r"S:(.+):(\d)", name)
    if size and size[2] in "13":
        if size[1] == "source":
            return values["log_mel_len"]
        return values["dec_targets_len" if size[1].startswith("output/") and size[2] == "1" else "enc_len"]
    if size and size[1] == "output/energy" and size[2] == "2":
        return values["enc_len"]
    if name == "loss_sum:ctc" and f"loss_sum_ctc_{top}" in totals:
        return Value("losses", totals[f"loss_sum_ctc_{top}"], "whole")
    return None


def _like(reference: Array, logits: Value) -> Value:
    """Our logits as the layer gives them out: as they are, or as a distribution where its activation is a softmax."""
    distribution = bool((reference >= 0).all()) and np.allclose(reference[0, 0].sum(), 1.0, atol=1e-4)
    return logits._replace(ours=logits.ours.softmax(-1)) if distribution else logits
