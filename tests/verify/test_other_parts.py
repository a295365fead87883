"""Folders described part by part, of models and sizes that no golden folder has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.verify.verification import Verification
from tests.verify.test_other_models import write_folder

FRONTEND: dict[str, Any] = {
    "log_mel": {"dim": 40, "log_base": 10},
    "feature_batch_norm": "BatchNorm over the bins, eps 1e-2, momentum 0.2",
    "conv": {"strides": [[1, 1], [2, 1], [2, 1]], "pool_after_first": [1, 2]},
}
ENCODER = {"num_layers": 2, "dim": 30, "ff_dim": 44, "num_heads": 5, "ff_activation": "swish"}
GATED = {**ENCODER, "cgmlp": {"hidden_per_half": 20, "kernel": 9, "activation": "gelu"}, "merge_conv_kernel": 4}
CONFORMER = {**ENCODER, "conv_kernel_size": 6, "conv_norm": "BatchNorm eps 1e-3, statistics NOT masked"}
CONFIG: dict[str, Any] = {
    "behavior_version": 24,
    "vocab": 17,
    "frontend": FRONTEND,
    "decoder": {"num_layers": 2, "dim": 24, "num_heads": 3, "shared_embedding": True},
    "aux_ctc_layers": [1, 2],
}
ENCODERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "conformer": (
        CONFORMER,
        {"kind": "conformer", "convolution": {"kernel": 6, "norm": {"kind": "batch", "masked": False}}},
    ),
    "ebranchformer": (
        GATED,
        {"kind": "ebranchformer", "gating": {"dim": 20, "kernel": 9}, "merge_kernel": 4},
    ),
}


def experiment_for(encoder: dict[str, Any]) -> Experiment:
    """Written by hand, not by the code under test."""
    return Experiment.model_validate(
        {
            "tokenizer": {"size": 17},
            "features": {"dim": 40, "log_base": 10.0, "normalize": {"kind": "batch", "eps": 1e-2, "momentum": 0.2}},
            "frontend": {"channels": [4, 5, 6], "time_strides": [1, 2, 2]},
            "encoder": {
                "layers": 2,
                "dim": 30,
                "feed_forward": {"dim": 44, "activation": "swish", "bias": False},
                "attention": {"heads": 5, "position": {"kind": "transformer_xl"}},
                **encoder,
            },
            "ctc": {"layers": [1, 2], "eos": True},
            "decoder": {
                "kind": "transformer",
                "layers": 2,
                "dim": 24,
                "heads": 3,
                "feed_forward": {"dim": 256, "activation": "swiglu", "bias": False},
                "norm": "rms",
                "rotary": True,
                "self_attention_bias": False,
                "shared_embedding": True,
                "embedding_scale": 24**0.5,
                "auxiliary": [1],
            },
            "loss": {"label_smoothing": 0.2},
        }
    )


def described(kind: str) -> dict[str, Any]:
    encoder = {**ENCODERS[kind][0], "self_att": "Transformer-XL relative positions"}
    return {**CONFIG, "encoder": encoder, "label_smoothing": 0.2}


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_folder_of_other_sizes_is_understood(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path, described(kind), experiment_for(ENCODERS[kind][1]))
    verification = Verification.of(tmp_path)
    checks = list(verification.checks())
    assert [str(check) for check in checks if not check.ok] == []
    assert verification.left_over() == []
    stations = {check.station for check in checks}
    assert {"exported again", "ctc_loss_2", "ce_aux_1_smoothed_per_seq", "grad_norms_normalized", "batch"} <= stations


def test_a_kernel_that_is_not_the_checkpoints_is_refused(tmp_path: Path) -> None:
    config = described("ebranchformer")
    config["encoder"] = {**config["encoder"], "merge_conv_kernel": 3}
    write_folder(tmp_path, described("ebranchformer"), experiment_for(ENCODERS["ebranchformer"][1]))
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="merge_conv_kernel is 3, but the checkpoint's is 4"):
        list(Verification.of(tmp_path).checks())
