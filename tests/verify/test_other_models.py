"""Folders of models that no golden folder has: other dimensions, layers, heads and batches.

Their numbers are our own, so they say nothing of the original; a folder must be understood whatever its sizes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aedo.experiment import Experiment
from aedo.interop.returnn import export_state, foreign_name
from aedo.verify import beams
from aedo.verify.folder import GoldenFolder
from aedo.verify.stations import Stations, run
from aedo.verify.training import totals_of, without_randomness
from aedo.verify.verification import Verification

LSTM = {"embed_dim": 10, "key_dim": 14, "lstm_dim": 12, "readout_dim": 22, "use_zoneout_output": True}
TRANSFORMER = {"num_layers": 3, "dim": 24, "ff_dim": 20, "num_heads": 3, "share_embedding": False}
SHAW = {"with_bias": False, "with_linear_pos": False, "with_pos_bias": False, "learnable_pos_emb": True}
CONFIG = {
    "behavior_version": 24, "num_enc_layers": 2, "enc_dim": 30, "enc_ff_dim": 44, "enc_att_num_heads": 5,
    "conv_kernel_size": 7, "ff_activation": "swish", "conv_norm": "BatchNorm eps=1e-3 momentum=0.1 use_mask=False",
    "self_att": {**SHAW, "separate_pos_emb_per_head": False}, "vocab": 17, "aux_loss_layers": [2],
    "aux_loss_scales": [0.5], "aed_loss_scale": 0.7, "label_smoothing": 0.2, "lstm_decoder": LSTM,
    "trafo_decoder": None, "log_mel": {"log_base": "10", "dim": 40},
    "conv_frontend": {"strides": [[1, 1], [2, 1], [2, 1]], "pool_after_first": [1, 2]},
}  # fmt: skip
XL = {"with_bias": True, "with_linear_pos": True, "with_pos_bias": True, "learnable_pos_emb": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "heads": {"lstm_decoder": {**LSTM, "att_num_heads": 3}},
    "legacy": {"behavior_version": 16, "self_att": {**XL, "separate_pos_emb_per_head": True}},
    "transformer": {"lstm_decoder": None, "trafo_decoder": {**TRANSFORMER, "ff_activation": "relu"}},
    "ctc": {"lstm_decoder": None, "aux_loss_layers": [1], "conv_norm": "LayerNorm eps=1e-6"},
}


def experiment_for(config: dict[str, Any]) -> Experiment:
    """Written by hand, not by the code under test."""
    layer_norm, legacy = "LayerNorm" in config["conv_norm"], config["behavior_version"] < 24
    decoder: dict[str, Any] | None = None
    if config["lstm_decoder"]:
        decoder = {"kind": "lstm", "embedding_dim": 10, "attention_dim": 14, "lstm_dim": 12, "readout_dim": 22}
        decoder |= {"zoned_output": True, "attention_heads": config["lstm_decoder"].get("att_num_heads", 1)}
    elif config["trafo_decoder"]:
        decoder = {"kind": "transformer", "layers": 3, "dim": 24, "heads": 3}
        decoder["feed_forward"] = {"dim": 20, "activation": "relu"}
    padding = "batch" if legacy else "consistent"
    norm = {"kind": "layer"} if layer_norm else {"kind": "batch", "masked": False}
    ctc = {"layers": [2], "scales": [0.5]} if decoder else {"layers": [1, 2], "scales": [0.5, 1.0]}
    position = {"kind": "transformer_xl"} if legacy else {"kind": "clipped", "clip": 3}
    return Experiment.model_validate(
        {
            "tokenizer": {"size": 17},
            "features": {"dim": 40, "log_base": 10.0},
            "frontend": {"channels": [4, 5, 6], "time_strides": [1, 2, 2], "padding": padding},
            "encoder": {
                "layers": 2,
                "dim": 30,
                "feed_forward": {"dim": 44, "activation": "swish"},
                "attention": {"heads": 5, "position": position},
                "convolution": {"kernel": 7, "padding": padding, "norm": norm},
            },
            "ctc": {**ctc, "eos": True},
            "decoder": decoder,
            "loss": {"label_smoothing": 0.2, "decoder_scale": 0.7},
        }
    )


def write(folder: Path, variant: str) -> None:
    config = {**CONFIG, **VARIANTS[variant]}
    write_folder(folder, config, experiment_for(config))


def write_folder(folder: Path, config: dict[str, Any], experiment: Experiment) -> None:
    """A folder of a model with 17 labels, its numbers our own."""
    torch.manual_seed(3)
    model = experiment.build_model(17)
    torch.save({"model": export_state(model), "epoch": 1, "step": 0}, folder / "checkpoint.pt")
    (folder / "config.json").write_text(json.dumps(config))
    lengths, targets = [9000, 6000], [[3, 4, 5, 0], [7, 0, 9, 9]]
    np.savez(
        folder / "inputs.npz",
        audio=0.1 * torch.randn(2, 9000).numpy(),
        audio_len=np.array(lengths, np.int32),
        targets=np.array(targets, np.int32),  # what stands behind the end of the second one says nothing
        targets_len=np.array([4, 2], np.int32),
    )
    inputs = GoldenFolder.open(folder).inputs
    arrays = {}
    for prefix in ("", "train/"):
        passed = run(without_randomness(model) if prefix else model.eval(), inputs)
        stations = Stations(model, inputs, passed, smoothing=0.2)
        totals = totals_of(experiment, model, inputs, passed)
        if prefix:
            totals.totals["labels"].backward()
        else:
            arrays |= {name: value.numpy() for name, value in totals.values.items()}
        arrays |= {
            prefix + name: value.ours.detach().numpy()
            for name, value in stations.values.items()
            if value.axis == "whole"
        }
    norms = {foreign_name(name, model)[0]: float(p.grad.norm()) for name, p in model.named_parameters()}
    arrays |= {"grad_norms_names": np.array(list(norms)), "grad_norms_normalized": np.array(list(norms.values()))}
    np.savez(folder / "outputs.npz", **arrays)
    fresh = GoldenFolder.open(folder)
    (folder / "beam.json").write_text(json.dumps({"beam_size": 5, "batch": beams_of(fresh)}))


def beams_of(folder: GoldenFolder) -> list[list[dict[str, Any]]]:
    from aedo.verify.load import load

    _, model = load(folder)
    found = beams.search(model.eval(), folder.inputs.audio, folder.inputs.lengths, 5)
    return [[{"labels": h.labels, "length": h.length, "score": h.score} for h in row] for row in found]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_folder_of_other_sizes_is_understood(tmp_path: Path, variant: str) -> None:
    write(tmp_path, variant)
    verification = Verification.of(tmp_path)
    checks = list(verification.checks())
    assert [str(check) for check in checks if not check.ok] == []
    assert verification.left_over() == []
    parts = {check.part for check in checks}
    assert {"weights", "features", "ctc", "losses", "gradients", "beams"} <= parts
    assert verification.folder.inputs.eos
    assert verification.folder.inputs.labels.ids.tolist() == [[3, 4, 5], [7, 0, 0]]
