"""The E-Branchformer alone: every layer, the parts of a block, batch and single, loss and all gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aedo.errors import UserError
from aedo.interop.infer import Unseen, experiment_of
from aedo.model.ebranchformer import EBranchformerConfig
from aedo.verify.bare_encoder import BareEncoder
from aedo.verify.load import state_of
from aedo.verify.verification import Verification
from tests.golden.models import FOLDER

PLACE = FOLDER / "e-branchformer"


def test_every_station_equals_the_reference() -> None:
    verification = Verification.of(PLACE)
    checks = list(verification.checks())
    assert [str(check) for check in checks if not check.ok] == []
    assert verification.left_over() == []
    stations = {check.station for check in checks}
    assert {f"layer_1/{part}" for part in ("ffn1", "self_att", "cgmlp", "merge", "ffn2")} <= stations
    assert {"layer_3", "out", "single_3/out", "bv21/out", "train/out", "train_loss"} <= stations
    assert sum(station.startswith("grad/") for station in stations) == 112


def test_a_bare_encoder_cannot_be_imported() -> None:
    with pytest.raises(UserError, match=r"an encoder alone, without front-end.*aedo verify compares"):
        experiment_of(state_of(PLACE / "checkpoint.safetensors"), Unseen(), "the file")


OTHER = {
    "behavior_version": 21,
    "feature_dim": 7,
    "dim": 12,
    "num_layers": 2,
    "num_heads": 3,
    "ff_dim": 10,
    "ff_activation": "relu_square",
    "cgmlp": {"hidden_per_half": 9, "kernel": 4, "activation": "gelu", "gate_activation": "identity"},
    "merge_conv_kernel": 5,
}
CONFIG: dict[str, Any] = {
    "layers": 2,
    "dim": 12,
    "attention": {"heads": 3, "position": {"kind": "clipped", "clip": 4}},
    "feed_forward": {"dim": 10, "bias": False},
    "gating": {"dim": 9, "kernel": 4},
    "merge_kernel": 5,
    "padding": "batch",
}


def write(folder: Path, **changes: Any) -> Path:
    """A folder of other sizes, its numbers our own."""
    torch.manual_seed(1)
    model = BareEncoder(7, EBranchformerConfig.model_validate(CONFIG)).eval()
    state = {}
    for name, value in model.state_dict().items():
        foreign, transform = model.foreign_name(name)
        state[foreign] = transform(value).contiguous()
    torch.save({"model": state, "epoch": 1, "step": 0}, folder / "checkpoint.pt")
    features, lengths = torch.randn(2, 9, 7), torch.tensor([9, 5])
    np.savez(folder / "inputs.npz", features=features.numpy(), features_len=lengths.numpy())
    with torch.no_grad():
        encoded = model(features, lengths)
    np.savez(folder / "outputs.npz", out=encoded.states.numpy(), layer_1=encoded.layers[1].numpy())
    (folder / "config.json").write_text(json.dumps({**OTHER, **changes}))
    return folder


def test_a_folder_of_other_sizes_is_understood(tmp_path: Path) -> None:
    verification = Verification.of(write(tmp_path))
    checks = list(verification.checks())
    assert {check.station for check in checks} == {"exported again", "layer_1", "out"}
    assert all(check.ok for check in checks)
    assert verification.left_over() == []


def test_other_numbers_fail(tmp_path: Path) -> None:
    write(tmp_path)
    with np.load(tmp_path / "outputs.npz") as file:
        arrays = dict(file)
    arrays["out"][0, 3] += 1e-3
    np.savez(tmp_path / "outputs.npz", **arrays)
    failed = [check.station for check in Verification.of(tmp_path).checks() if not check.ok]
    assert failed == ["out"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merge_conv_kernel": 3}, "merge_conv_kernel is 3, but the checkpoint's is 5"),
        ({"num_heads": 4}, "num_heads is 4, but the checkpoint's is 3"),
        ({"cgmlp": {"hidden_per_half": 8}}, r"cgmlp\.hidden_per_half is 8, but the checkpoint's is 9"),
        ({"cgmlp": {"activation": "relu"}}, r"cgmlp\.activation is 'relu', known is gelu"),
        ({"ff_activation": "tanh"}, "ff_activation is 'tanh'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(Verification.of(write(tmp_path, **changes)).checks())
