"""Which parameters decay."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.interop.returnn import foreign_name
from aedo.model.aed import AED
from aedo.train.optimizers import OptimizerConfig
from aedo.train.param_groups import ModuleKind, WeightDecayConfig, decaying
from tests.train.micro import micro_experiment

GROUPS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "data" / "weight_decay_groups.json").read_text()
)
KINDS: dict[str, ModuleKind] = {
    "rf.BatchNorm": "batch_norm",
    "rf.LayerNorm": "layer_norm",
    "rf.Embedding": "embedding",
    "rf.LearnedRelativePositionalEncoding": "relative_position",
}


@pytest.fixture(scope="module")
def model() -> AED:
    """As many layers as the reference, each a small one: only names count."""
    small = micro_experiment().with_("encoder.layers", 12).with_("ctc.layers", (4, 8))
    return small.build_model(40)


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
