"""Whole models with an E-Branchformer under RETURNN's names: there and back, and what the shapes show."""

from __future__ import annotations

import pytest
import torch

from aedo.interop.infer import Unseen, experiment_of
from aedo.interop.returnn import export_state, import_state
from aedo.model.aed import AED
from aedo.recipes.names import resolve

NAMES = (
    "tiny-ebranchformer-ks7",
    "tiny-ebranchformer-relposxl-mergeks5-cgmlp20-trafodec2d16",
    "tiny-ebranchformer-ctconly",
)


def model_of(name: str, seed: int = 0) -> AED:
    torch.manual_seed(seed)
    return resolve(name).with_("encoder.dim", 16).build_model(11)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_exported_imports_equal(name: str) -> None:
    one, other = model_of(name), model_of(name, seed=1)
    import_state(export_state(one), other)
    state = other.state_dict()
    assert all(torch.equal(value, state[ours]) for ours, value in one.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_is_read_off_its_shapes(name: str) -> None:
    unseen = Unseen(behavior_version=24)
    found = experiment_of(export_state(model_of(name)), unseen, "the checkpoint").encoder
    expected = resolve(name).with_("encoder.dim", 16).encoder
    assert found.kind == expected.kind == "ebranchformer"
    assert (found.gating, found.merge_kernel, found.padding) == (expected.gating, expected.merge_kernel, "consistent")
    assert found.attention.position.kind == expected.attention.position.kind
    assert (found.layers, found.feed_forward.dim) == (expected.layers, expected.feed_forward.dim)


def test_names_and_shapes_are_those_of_the_reference() -> None:
    exported = {name: tuple(value.shape) for name, value in export_state(model_of(NAMES[0])).items()}
    expected = {
        "encoder.layers.2.cgmlp.linear_ff.weight": (16, 96),
        "encoder.layers.2.cgmlp.norm.scale": (48,),
        "encoder.layers.2.cgmlp.conv.filter": (48, 1, 7),
        "encoder.layers.2.cgmlp.linear_out.weight": (48, 16),
        "encoder.layers.2.cgmlp_layer_norm.bias": (16,),
        "encoder.layers.2.merge.depthwise_conv_fusion.filter": (32, 1, 3),
        "encoder.layers.2.merge.merge_proj.weight": (32, 16),
        "encoder.input_projection.weight": (640, 16),
    }
    assert {name: exported.get(name) for name in expected} == expected
