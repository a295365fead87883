"""How parameters start: torch's way, smaller queries, keys and values, wider embeddings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aedo.model.aed import AED
from aedo.model.blstm_frontend import BlstmFrontendConfig
from aedo.model.transformer_decoder import TransformerDecoder, TransformerDecoderConfig
from aedo.nn.attention import SelfAttentionConfig
from aedo.nn.embedding import TargetEmbedding
from aedo.nn.lstm import ZoneoutLstm
from tests.train.micro import micro_experiment

EXPERIMENT = micro_experiment().with_("encoder.dim", 64).with_("encoder.feed_forward.dim", 128)


def built(kind: str = "torch", **fields: object) -> AED:
    torch.manual_seed(0)
    experiment = EXPERIMENT.with_("initialization.kind", kind)
    for path, value in fields.items():
        experiment = experiment.with_(path.replace("__", "."), value)
    return experiment.build_model(50)


def assert_uniform(values: torch.Tensor, limit: float, name: str) -> None:
    """Five standard errors of the standard deviation of a uniform distribution."""
    assert values.abs().max().item() <= limit * (1 + 1e-6), name
    if values.numel() >= 100:
        assert values.std().item() == pytest.approx(limit / 3**0.5, rel=5 * (0.8 / values.numel()) ** 0.5), name


@pytest.mark.parametrize("frontend", [{"kind": "conv"}, {"kind": "blstm", "units": 32, "channels": (8,)}])
def test_torchs_distributions_are_those_of_its_layers(frontend: object) -> None:
    model = built(frontend=frontend)
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            limit = 1 / math.sqrt(module.weight[0].numel())
        elif isinstance(module, nn.LSTM):
            limit = 1 / math.sqrt(module.hidden_size)
        elif isinstance(module, ZoneoutLstm):
            limit = 1 / math.sqrt(module.units)
        else:
            continue
        for parameter in module.parameters(recurse=False):
            assert parameter.any(), name
            assert_uniform(parameter.detach(), limit, name)
    embedding = next(module for module in model.modules() if isinstance(module, TargetEmbedding)).weight.detach()
    assert embedding.std().item() == pytest.approx(1, rel=5 / math.sqrt(2 * embedding.numel()))


def test_torchs_way_leaves_names_norms_and_positions_as_they_are() -> None:
    ours, torchs = built("glorot"), built()
    assert list(ours.state_dict()) == list(torchs.state_dict())
    for name, parameter in torchs.named_parameters():
        if "norm" in name or "position" in name:
            assert torch.equal(parameter, ours.get_parameter(name)), name


def test_glorot_draws_what_was_always_drawn() -> None:
    torch.manual_seed(0)
    plain = EXPERIMENT.build_model(50).state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in built("glorot").state_dict().items())


def test_auxiliary_heads_start_as_copies_of_the_output_in_torchs_way_too() -> None:
    decoder = TransformerDecoderConfig(layers=2, dim=16, heads=2, auxiliary=(1,))
    model = built(decoder=decoder).decoder
    assert isinstance(model, TransformerDecoder)
    assert torch.equal(model.auxiliary["1"].output.weight, model._matrix())


@pytest.mark.parametrize("kind", ["glorot", "torch"])
def test_the_variance_of_queries_keys_and_values_has_its_factor_and_nothing_else_changes(kind: str) -> None:
    plain, smaller = built(kind), built(kind, encoder__attention__init_scale=0.5)
    for name, parameter in smaller.named_parameters():
        factor = math.sqrt(0.5) if name.endswith("qkv.weight") else 1.0
        torch.testing.assert_close(parameter, factor * plain.get_parameter(name), msg=name)
    qkv = SelfAttentionConfig(heads=4, init_scale=0.5).build(128).qkv.weight.detach()
    assert_uniform(qkv, math.sqrt(3 / (128 + 3 * 128)), "qkv")


@pytest.mark.parametrize("kind", ["glorot", "torch"])
def test_embeddings_start_from_a_normal_distribution_cut_at_twice_its_deviation(kind: str) -> None:
    model = built(kind, decoder__embedding_std=0.5, decoder__embedding_dim=200)
    weight = next(module for module in model.modules() if isinstance(module, TargetEmbedding)).weight.detach()
    assert weight.abs().max() <= 1.0
    # Variance of a standard normal distribution cut at +-2: 1 - 4 phi(2) / (2 Phi(2) - 1).
    assert weight.std().item() == pytest.approx(0.5 * 0.8796, rel=4 / math.sqrt(2 * weight.numel()))


def test_both_decoders_have_it() -> None:
    decoder = TransformerDecoderConfig(layers=1, dim=16, heads=2, embedding_std=1.0)
    model = built("glorot", decoder=decoder)
    assert model.decoder is not None
    assert next(m for m in model.modules() if isinstance(m, TargetEmbedding)).weight.abs().max() > 0.5


def test_a_recurrent_front_end_is_initialised_too() -> None:
    config = BlstmFrontendConfig(units=16)
    ours, torchs = built("glorot", frontend=config), built("torch", frontend=config)
    bias = "frontend.layers.0.forwards.bias_ih_l0"
    assert not ours.get_parameter(bias).any()
    assert torchs.get_parameter(bias).all()
