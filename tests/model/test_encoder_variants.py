"""Variants of attention and norms in both kinds of encoder: sizes by hand, gradients, padding, a trip to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from aedo.errors import UserError
from aedo.model.conformer import ConformerConfig
from aedo.model.ebranchformer import EBranchformerConfig
from aedo.model.encoder import Encoder
from aedo.recipes.names import resolve

KINDS: dict[str, type[ConformerConfig] | type[EBranchformerConfig]] = {
    "conformer": ConformerConfig,
    "ebranchformer": EBranchformerConfig,
}
ATTENTION: dict[str, Any] = {"heads": 2, "dropout": 0.0}
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    # fields, and by how many parameters a block (D = 8, E = 4) differs from the one with a table of 33 distances
    "layer_no_bias": ({"norm": "layer_no_bias"}, -5 * 8),
    "rms": ({"norm": "rms"}, -5 * 8),
    "l2": ({"attention": {**ATTENTION, "qk_norm": "l2"}}, 2),
    "layer": ({"attention": {**ATTENTION, "qk_norm": "layer"}}, 2 * 4),
    "rotary": ({"attention": {**ATTENTION, "position": {"kind": "rotary"}}}, -33 * 4),
    "no positions": ({"attention": {**ATTENTION, "position": {"kind": "none"}}}, -33 * 4),
    "rms, l2, rotary": (
        {"norm": "rms", "attention": {**ATTENTION, "qk_norm": "l2", "position": {"kind": "rotary"}}},
        -5 * 8 + 2 - 33 * 4,
    ),
}
BOTH = pytest.mark.parametrize("kind", KINDS)
EVERY = pytest.mark.parametrize("variant", VARIANTS)


def build(kind: str, fields: dict[str, Any]) -> Encoder:
    """Two blocks in which everything learned says something."""
    torch.manual_seed(1)
    own: dict[str, Any] = {"convolution": {"kernel": 3, "norm": {"kind": "layer"}}} if kind == "conformer" else {}
    config = {"layers": 2, "dim": 8, "feed_forward": {"dim": 8}, "attention": ATTENTION, "dropout": {"rate": 0.0}}
    encoder = KINDS[kind].model_validate({**config, **own, **fields}).build()
    for parameter in encoder.parameters():
        if parameter.dim() == 1 or not parameter.any():
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return encoder


def count(encoder: Encoder) -> int:
    return sum(parameter.numel() for parameter in encoder.parameters())


@BOTH
@EVERY
def test_parameters_are_as_many_as_by_hand(variant: str, kind: str) -> None:
    fields, more = VARIANTS[variant]
    assert count(build(kind, fields)) == count(build(kind, {})) + 2 * more


@BOTH
@EVERY
def test_padding_changes_nothing(variant: str, kind: str) -> None:
    encoder = build(kind, VARIANTS[variant][0]).eval()
    x, lengths = torch.randn(2, 9, 8), torch.tensor([9, 5])
    batched = encoder(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(x[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(batched.states[row, :length], alone.states[0], rtol=1e-4, atol=1e-5)


@EVERY
def test_gradients_are_right_in_double_precision(variant: str) -> None:
    encoder, lengths = build("conformer", VARIANTS[variant][0]).double(), torch.tensor([3, 2])
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    norms = [value for name, value in encoder.named_parameters() if "norm" in name][:4]
    assert torch.autograd.gradcheck(
        lambda y, *_: (encoded := encoder(y, lengths)).states[encoded.mask], (x, *norms), eps=1e-6, atol=1e-5
    )


@BOTH
@EVERY
def test_saved_and_loaded_it_is_the_same(variant: str, kind: str, tmp_path: Path) -> None:
    encoder, path = build(kind, VARIANTS[variant][0]).eval(), tmp_path / "model.safetensors"
    save_file(encoder.state_dict(), path)
    fresh = build(kind, VARIANTS[variant][0]).eval()
    for parameter in fresh.parameters():
        torch.nn.init.zeros_(parameter)
    fresh.load_state_dict(load_file(path))
    x, lengths = torch.randn(1, 6, 8), torch.tensor([6])
    assert torch.equal(fresh(x, lengths).states, encoder(x, lengths).states)


def test_rotary_positions_need_pairs_of_features() -> None:
    with pytest.raises(ValidationError, match="heads of even size"):
        ConformerConfig.model_validate({"dim": 10, "attention": {"heads": 2, "position": {"kind": "rotary"}}})


def test_rotary_positions_have_nothing_to_drop() -> None:
    with pytest.raises(UserError, match="posdrop02"):
        resolve("24gb-v6-relposrope-posdrop02")


def test_a_rotary_name_builds_an_encoder_without_positions_to_learn() -> None:
    with torch.device("meta"):
        names = [name for name, _ in resolve("24gb-v6-relposrope-qkln-rmsnorm").encoder.build().named_parameters()]
    assert not [name for name in names if "position" in name]
    assert not [name for name in names if "norm" in name and name.endswith("bias") and "convolution.norm" not in name]
