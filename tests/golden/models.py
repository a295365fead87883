"""The golden folders: small models whose every output the original system computed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from aedo.experiment import Experiment
from aedo.interop.returnn import import_state
from aedo.model.aed import AED

FOLDER = Path(__file__).parent / "data" / "models"
NAMES = ("base", "base-bv24", "zoneout-out", "layernorm", "relpos-xl", "enc-default", "ctc-only")


def config_of(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((FOLDER / name / "config.json").read_text())
    return config


def arrays_of(name: str, which: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / name / f"{which}.npz", allow_pickle=False) as file:
        return dict(file)


def experiment_of(config: dict[str, Any]) -> Experiment:
    """Our tree for the description of a golden folder."""
    padding = "consistent" if config["behavior_version"] >= 24 else "batch"
    learned = config["self_att"]["learnable_pos_emb"]
    norm = (
        {"kind": "layer"}
        if "LayerNorm" in config["conv_norm"]
        else {"kind": "batch", "masked": "use_mask=True" in config["conv_norm"]}
    )
    decoder = config["lstm_decoder"]
    layers = config["num_enc_layers"]
    return Experiment.model_validate(
        {
            "tokenizer": {"size": config["vocab"]},
            "features": {"log_base": 10.0 if config["log_mel"]["log_base"] == "10" else math.exp(2.3026)},
            "frontend": {"padding": padding},
            "encoder": {
                "layers": layers,
                "dim": config["enc_dim"],
                "feed_forward": {
                    "dim": config["enc_ff_dim"],
                    "activation": "swish" if config["ff_activation"] == "swish" else "relu2",
                },
                "attention": {
                    "heads": config["enc_att_num_heads"],
                    "position": {"kind": "clipped" if learned else "transformer_xl"},
                },
                "convolution": {"kernel": config["conv_kernel_size"], "padding": padding, "norm": norm},
            },
            "ctc": {"layers": [*config["aux_loss_layers"], *([] if decoder else [layers])], "eos": True},
            "decoder": decoder
            and {
                "embedding_dim": decoder["embed_dim"],
                "attention_dim": decoder["key_dim"],
                "lstm_dim": decoder["lstm_dim"],
                "readout_dim": decoder["readout_dim"],
                "zoned_output": decoder["use_zoneout_output"],
            },
            "loss": {"label_smoothing": config["label_smoothing"]},
        }
    )


def model_of(name: str) -> AED:
    """The folder's model with its weights, in evaluation mode."""
    config = config_of(name)
    model = experiment_of(config).build_model(config["vocab"])
    weights = FOLDER / ("base" if name == "base-bv24" else name) / "checkpoint.safetensors"
    import_state(load_file(weights), model)
    return model.eval()
