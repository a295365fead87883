"""Names of the Transformer decoder: there and back, in both of its forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aedo.errors import UserError
from aedo.interop.returnn import export_state, import_state
from aedo.interop.returnn_transformer import copies, transformer_name
from aedo.model.aed import AED
from aedo.recipes.names import resolve

PLAIN, LATER = "tiny-trafodec2d16", "tiny-trafodec3d16-embshare-decllama-auxdec1_2"


def model_of(name: str, seed: int = 0) -> AED:
    torch.manual_seed(seed)
    return resolve(name).with_("encoder.layers", 3).with_("encoder.dim", 16).build_model(11)


@pytest.mark.parametrize("name", [PLAIN, LATER])
def test_what_was_exported_imports_equal(name: str) -> None:
    one, other = model_of(name), model_of(name, seed=1)
    exported = export_state(one)
    import_state(exported, other)
    state = other.state_dict()
    assert all(torch.equal(value, state[ours]) for ours, value in one.state_dict().items())
    again = export_state(other)
    assert again.keys() == exported.keys()
    assert all(torch.equal(again[theirs], value) for theirs, value in exported.items())


def test_shapes_are_those_of_the_reference() -> None:
    exported = {name: tuple(value.shape) for name, value in export_state(model_of(LATER)).items()}
    expected: dict[str, Any] = {
        "decoder.input_embedding.weight": (11, 16),
        "decoder.logits.weight": (11, 16),
        "decoder.layers.2.self_att.qkv.weight": (16, 48),
        "decoder.layers.2.cross_att.kv.weight": (16, 32),
        "decoder.layers.2.ff.linear_ff.weight": (16, 512),
        "decoder.layers.2.ff.linear_out.weight": (256, 16),
        "decoder.final_layer_norm.scale": (16,),
        "dec_aux_final_layer_norm_2.scale": (16,),
        "dec_aux_logits_2.weight": (11, 16),
    }
    assert {name: exported.get(name) for name in expected} == expected
    assert export_state(model_of(PLAIN))["decoder.logits.weight"].shape == (16, 11)


def test_a_shared_matrix_must_be_the_same_under_both_names() -> None:
    model = model_of(LATER)
    assert copies(model) == {"decoder.logits.weight": "decoder.input_embedding.weight"}
    state = export_state(model)
    state["decoder.logits.weight"] += 1
    with pytest.raises(UserError, match=r"decoder\.logits\.weight is not the matrix of decoder\.input_embedding"):
        import_state(state, model)


def test_parameters_of_other_decoders_are_left_to_other_rules() -> None:
    assert transformer_name("decoder.embedding.weight", model_of("tiny")) is None
    assert transformer_name("frontend.projection.weight", model_of(PLAIN)) is None
    assert copies(model_of("tiny")) == copies(model_of(PLAIN)) == {}
