"""Names of the values in tf_outputs.npz: `L:<layer>` for outputs, `S:<layer>:<axis>` for lengths."""

from __future__ import annotations

import re

from torch import Tensor

from aedo.model.aed import AED
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


def value_of(name: str, model: AED, stations: Stations, totals: dict[str, Tensor]) -> Value | None:
    """Our value for an entry of tf_outputs.npz; None where we have none."""
    values, top = stations.values, head_name(model, len(model.encoder.layers))
    layer = name.removeprefix("L:")
    if name.startswith("L:"):
        if layer == "ctc" and f"ctc_log_probs_{top}" in values:  # that layer's output is a distribution
            return values[f"ctc_log_probs_{top}"]._replace(ours=values[f"ctc_log_probs_{top}"].ours.exp())
        if layer == "output/output_prob" and "dec_logits" in values:
            return values["dec_logits"]._replace(ours=values["dec_logits"].ours.softmax(-1))
        for pattern, station in _OUTPUTS.items():
            match = re.fullmatch(pattern, layer)
            if match:
                number = str(int(match[1])) if match.groups() else ""
                return values.get(station.replace(r"\1", number))
    size = re.fullmatch(r"S:(.+):(\d)", name)
    if size and size[2] in "13" and (size[1] != "output/att_weights" or size[2] == "3"):
        if size[1] == "source":
            return values["log_mel_len"]
        if not size[1].startswith("output/") or size[2] == "3":
            return values["enc_len"]
    if size and size[1] == "output/energy" and size[2] == "2":
        return values["enc_len"]
    if name == "loss_sum:ctc" and f"loss_sum_ctc_{top}" in totals:
        return Value("losses", totals[f"loss_sum_ctc_{top}"], "whole")
    return None
