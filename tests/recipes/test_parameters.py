"""The table of parameters: nothing missing, sums that are right, layers folded where they agree."""

from __future__ import annotations

import re

import pytest
from torch import nn

from aedo.errors import UserError
from aedo.recipes.names import resolve
from aedo.recipes.parameters import parameter_table, rows
from aedo.train.param_groups import Decay, DecayRule, WeightDecayConfig, decays
from aedo.train.step import parameter_count
from tests.recipes.test_commands import run
from tests.train.micro import micro_experiment


def line_of(table: str, start: str) -> list[str]:
    """The columns of the one line that starts like this."""
    (line,) = (line for line in table.splitlines() if line.strip().startswith(start))
    return re.split(r"\s{2,}", line.strip())


def test_every_parameter_is_in_one_row_with_its_weight_decay() -> None:
    model = micro_experiment().build_model(9)
    by_name = decays(model, WeightDecayConfig(exclude=("embedding",), decoder=0.1))
    found = rows(model, by_name)
    assert sum(row.count for row in found) == parameter_count(model)
    assert sum(row.tensors for row in found) == len(list(model.parameters()))
    (embedding,) = (row for row in found if row.name == "decoder.embedding.weight")
    assert (embedding.shape, embedding.decay) == ((9, 4), Decay(0.0, "embedding", spared=True))


def test_layers_are_folded_where_shape_and_weight_decay_agree() -> None:
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(6)])})
    rules = (DecayRule(parameters="layers.4.weight", value=0.5),)
    found = rows(model, decays(model, WeightDecayConfig(value=0.1, rules=rules)))
    assert [(row.name, row.tensors, row.count) for row in found] == [
        ("layers.0-3,5.weight", 5, 20),
        ("layers.4.weight", 1, 4),
    ]


def test_the_table_tells_shape_numbers_decay_and_reason() -> None:
    table = run("recipes", "24gb-v6-wdenc1e_2-wddec1e_4", "--parameters")
    assert "108,668,093 parameters for 10,025 labels; optimizer adamw" in table.splitlines()[0]
    assert line_of(table, "encoder.layers.0-11.ff1.hidden.weight") == [
        "encoder.layers.0-11.ff1.hidden.weight",
        "2048 x 512",
        "12",
        "12,582,912",
        "0.01",
        "encoder",
    ]
    assert line_of(table, "decoder.lstm.bias") == ["decoder.lstm.bias", "4096", "1", "4,096", "none", "bias"]
    assert line_of(table, "decoder.lstm.weight_hidden")[-2:] == ["0.0001", "decoder"]


def test_the_sums_at_the_end_are_those_of_the_rows() -> None:
    e = resolve("tiny")
    sums = parameter_table("tiny", e).split("\n\n")[-1].splitlines()[1:]
    columns = [re.split(r"\s{2,}", line.strip()) for line in sums]
    assert [column[:2] for column in columns] == [
        ["0.01", "value"],
        ["none", "bias"],
        ["none", "relative position"],
        ["none", "embedding"],
    ]
    assert sum(int(column[3].replace(",", "")) for column in columns) == parameter_count(
        e.build_model(e.tokenizer.size)
    )
    assert sum(float(column[4].removesuffix(" %")) for column in columns) == pytest.approx(100, abs=0.05)


def test_a_schedule_is_shown_as_such_and_characters_are_said_to_be_assumed() -> None:
    ramp = {"kind": "piecewise_linear", "nodes": (20_000,), "values": (0.0, 0.01)}
    e = micro_experiment().with_("train.optimizer.weight_decay.value", ramp)
    table = parameter_table("micro", e)
    assert "30 labels (assumed: they come from the data)" in table.splitlines()[0]
    assert "piecewise_linear(unit=micro_step, nodes=(20000), values=(0, 0.01))" in table


def test_the_table_needs_a_name_and_is_not_json() -> None:
    with pytest.raises(UserError, match="--parameters needs the name"):
        run("recipes", "--parameters")
    with pytest.raises(UserError, match="give one of them"):
        run("recipes", "tiny", "--json", "--parameters")
