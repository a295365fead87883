"""Which parameters decay, and how much."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from aedo.errors import UserError
from aedo.interop.returnn import foreign_name
from aedo.model.aed import AED
from aedo.model.transformer_decoder import TransformerDecoderConfig
from aedo.schedule import START, PiecewiseLinear, Progress
from aedo.train.optimizers import OptimizerConfig
from aedo.train.param_groups import DecayRule, ModuleKind, WeightDecayConfig, decays
from tests.train.micro import micro_experiment
from tests.train.test_step import at, batch, step_of

GROUPS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "data" / "weight_decay_groups.json").read_text()
)
KINDS: dict[str, ModuleKind] = {
    "rf.BatchNorm": "batch_norm",
    "rf.LayerNorm": "layer_norm",
    "rf.Embedding": "embedding",
    "rf.LearnedRelativePositionalEncoding": "relative_position",
}
RAMP = PiecewiseLinear(unit="update", nodes=(1, 11), values=(0.0, 0.1))


@pytest.fixture(scope="module")
def model() -> AED:
    """As many layers as the reference, each a small one: only names count."""
    small = micro_experiment().with_("encoder.layers", 12).with_("ctc.layers", (4, 8))
    return small.build_model(40)


def decaying(model: nn.Module, config: WeightDecayConfig) -> tuple[list[str], list[str]]:
    """Names of the parameters that decay, and of those that do not."""
    found = decays(model, config)
    assert list(found) == [name for name, _ in model.named_parameters()]
    return [name for name in found if not found[name].spared], [name for name in found if found[name].spared]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["configs"][0])
def test_groups_are_those_of_the_reference(model: AED, group: dict[str, Any]) -> None:
    exclude = tuple(KINDS[kind] for kind in group["blacklist"] or ())
    for ours, theirs, count in zip(
        decaying(model, WeightDecayConfig(exclude=exclude)), (group["with"], group["without"]), group["counts"]
    ):
        names = [foreign_name(name, model)[0] for name in ours]
        assert sorted({re.sub(r"encoder\.layers\.\d+\.", "encoder.layers.*.", name) for name in names}) == theirs
        assert len(names) == count


def test_every_parameter_is_in_one_group_of_the_optimizer(model: AED) -> None:
    decay = WeightDecayConfig(value=0.1, exclude=("embedding",))
    with_decay, without = OptimizerConfig(weight_decay=decay).build(model).param_groups
    assert (with_decay["weight_decay"], without["weight_decay"]) == (0.1, 0.0)
    there = [*with_decay["params"], *without["params"]]
    assert {id(parameter) for parameter in there} == {id(parameter) for parameter in model.parameters()}
    assert len(there) == len(list(model.parameters()))
    assert any(parameter is model.decoder.embedding.weight for parameter in without["params"])  # type: ignore[union-attr]


def test_matrices_only_are_those_of_linear_layers_and_lstms(model: AED) -> None:
    with_decay, without = decaying(model, WeightDecayConfig(matrices_only=True))
    parameters = dict(model.named_parameters())
    assert all(parameters[name].dim() == 2 for name in with_decay)
    assert {"decoder.lstm.weight_input", "decoder.lstm.weight_hidden", "frontend.projection.weight"} <= {*with_decay}
    assert {"ctc_heads.4.weight", "encoder.layers.0.convolution.pointwise_in.weight"} <= {*with_decay}
    matrices = {name for name in without if parameters[name].dim() == 2}
    assert {re.sub(r"\d+", "*", name) for name in matrices} == {
        "decoder.embedding.weight",
        "encoder.layers.*.attention.position.table.weight",
    }
    assert {"frontend.convolutions.0.weight", "encoder.layers.0.convolution.depthwise.weight"} <= {*without}


def test_lstms_of_torch_count_as_matrices_and_have_biases() -> None:
    lstm = nn.LSTM(2, 3, bidirectional=True)
    with_decay, without = decaying(lstm, WeightDecayConfig(matrices_only=True))
    assert all(name.startswith("weight_") for name in with_decay)
    assert len(with_decay) == len(without) == 4
    assert decaying(lstm, WeightDecayConfig()) == (with_decay, without)


def test_the_readout_may_be_spared(model: AED) -> None:
    assert decays(model, WeightDecayConfig())["decoder.readout.weight"].why == "value"
    everything, spared = decays(model, WeightDecayConfig()), decays(model, WeightDecayConfig(readout=False))
    differing = [name for name in everything if everything[name] != spared[name]]
    assert differing == ["decoder.readout.weight"]
    assert spared["decoder.readout.weight"].spared


def test_rms_norms_count_as_layer_norms() -> None:
    experiment = micro_experiment()
    decoder = TransformerDecoderConfig(layers=1, dim=8, heads=2, norm="rms")
    model = experiment.with_("decoder", decoder).build_model(9)
    config = WeightDecayConfig(exclude=("layer_norm",))
    assert "decoder.final_norm.weight" in decaying(model, WeightDecayConfig())[0]
    assert "decoder.final_norm.weight" in decaying(model, config)[1]


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("norm", "rms", "encoder.layers.0.ff1_norm.weight"),
        ("norm", "layer_no_bias", "encoder.layers.0.final_norm.weight"),
        ("attention.qk_norm", "l2", "encoder.layers.0.attention.qk_norm.scale"),
        ("attention.qk_norm", "layer", "encoder.layers.0.attention.qk_norm.key.weight"),
    ],
)
def test_every_norm_of_the_encoder_counts_as_one(field: str, value: str, name: str) -> None:
    model = micro_experiment().with_(f"encoder.{field}", value).build_model(9)
    assert name in decaying(model, WeightDecayConfig())[0]
    assert name in decaying(model, WeightDecayConfig(exclude=("layer_norm",)))[1]
    assert name in decaying(model, WeightDecayConfig(matrices_only=True))[1]


def test_encoder_and_decoder_may_have_values_of_their_own(model: AED) -> None:
    found = decays(model, WeightDecayConfig(value=0.3, encoder=0.1, decoder=0.2))
    for name, decay in found.items():
        assert decay.spared or decay.value == (0.2 if name.startswith("decoder.") else 0.1)
    assert found["ctc_heads.4.weight"].why == "encoder"
    assert {decay.why for decay in decays(model, WeightDecayConfig(encoder=0.1)).values()} == {
        "value",
        "encoder",
        "bias",
    }


def test_the_first_rule_that_matches_a_name_counts(model: AED) -> None:
    rules = (
        DecayRule(parameters="decoder.lstm.weight_hidden", value=0.5),
        DecayRule(parameters="decoder.lstm.*", value=0.0),
    )
    config = WeightDecayConfig(value=0.3, decoder=0.2, rules=rules)
    found = decays(model, config)
    assert found["decoder.lstm.weight_hidden"].value == 0.5
    assert found["decoder.lstm.weight_input"].value == 0.0
    assert found["decoder.lstm.bias"].why == "bias"
    assert found["decoder.readout.weight"].value == 0.2
    assert [group.value for group in config.build(model).groups] == [0.3, 0.2, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("late", ["decoder.lstm.weight_hidden", "nothing.*", "decoder.lstm.bias"])
def test_a_rule_that_has_no_effect_is_refused(model: AED, late: str) -> None:
    rules = (DecayRule(parameters="decoder.*", value=0.5), DecayRule(parameters=late, value=0.1))
    with pytest.raises(UserError, match=r"rules\[1\]: no parameter gets its weight decay"):
        decays(model, WeightDecayConfig(rules=rules))


@pytest.mark.parametrize("value", [-1.0, RAMP.with_("values", (0.1, -0.1)), {"kind": "constant", "value": -1}])
def test_negative_values_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="must not be negative"):
        WeightDecayConfig(value=value)


def test_a_scheduled_value_is_set_anew_and_leaves_plain_numbers_in_the_state() -> None:
    layer = nn.Linear(2, 2)
    config = OptimizerConfig(weight_decay=WeightDecayConfig(value=RAMP))
    optimizer, decay = config.build(layer), config.weight_decay.build(layer)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [RAMP.at(START), 0.0]
    decay.set(optimizer, Progress(0, 5, 0.0, 0.0))
    assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.0])
    assert all(type(group["weight_decay"]) is float for group in optimizer.state_dict()["param_groups"])


def test_the_step_evaluates_the_schedule_at_every_update() -> None:
    ramp = {"kind": "piecewise_linear", "nodes": (1, 11), "values": (0.0, 0.1)}
    step = step_of(accumulate=1, optimizer={"weight_decay": {"value": ramp}})
    seen = []
    for number in (0, 5, 20):
        step.micro_step(batch(0), at(number))
        assert step.update(at(number)).applied
        seen.append([group["weight_decay"] for group in step.optimizer.param_groups])
    assert seen == [[0.0, 0.0], pytest.approx([0.05, 0.0]), [0.1, 0.0]]


def test_parameters_of_equal_value_share_a_group_those_that_decay_first(model: AED) -> None:
    groups = WeightDecayConfig(value=0.1, encoder=0.1, decoder=RAMP).build(model).groups
    assert [group.value for group in groups] == [0.1, RAMP, 0.0]
    names = [name for name, _ in model.named_parameters()]
    assert all(list(group.names) == sorted(group.names, key=names.index) for group in groups)
    assert sorted(name for group in groups for name in group.names) == sorted(names)


def test_the_optimizer_updates_as_the_paper_says() -> None:
    """AdamW, one step by hand: decay, then the normalised gradient, which is its sign at the first step."""
    layer = torch.nn.Linear(2, 2)
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}
    optimizer = OptimizerConfig(eps=1e-16, weight_decay=WeightDecayConfig(value=0.5)).build(layer)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for parameter in layer.parameters():
        parameter.grad = torch.tensor([3.0, -2.0]).expand_as(parameter).clone()
    optimizer.step()
    sign = torch.tensor([1.0, -1.0])
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * (1 - 0.1 * 0.5) - 0.1 * sign)
    torch.testing.assert_close(layer.bias.detach(), before["bias"] - 0.1 * sign)
