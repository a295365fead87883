"""Rates of dropout and zoneout: their range, where they stand in a tree, and that modules follow their schedules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aedo.experiment import Experiment
from aedo.model.transformer_decoder import TransformerDecoderConfig
from aedo.nn.advance import advance
from aedo.nn.dropout import Dropout, DropoutConfig, WeightDropout
from aedo.nn.lstm import LstmState, ZoneoutLstm
from aedo.nn.rates import rate_fields
from aedo.schedule import START, PiecewiseLinear, Progress
from tests.train.micro import micro_experiment

RAMP = PiecewiseLinear(nodes=(10,), values=(0.0, 0.5))


def at(micro_step: int) -> Progress:
    return START._replace(micro_step=micro_step)


@pytest.mark.parametrize(
    "rate",
    [
        1.0,
        -0.1,
        {"kind": "constant", "value": 1.5},
        {"kind": "piecewise_linear", "nodes": (10,), "values": (0, 1)},
        {"kind": "steps", "nodes": (10,), "values": (0.5, -0.5)},
        {"kind": "warmup_inverse_sqrt", "peak": 2, "warmup": 1, "norm": 1},
        {"kind": "by_epoch", "start": 0.1, "legs": [{"epochs": 3, "end": 1.1}]},
        {"kind": "by_epoch", "start": 0.1, "legs": [{"epochs": 3, "start": 2, "end": 0.1}]},
    ],
)
def test_a_rate_outside_its_range_is_refused_also_within_a_schedule(rate: Any) -> None:
    with pytest.raises(ValidationError, match="is no rate"):
        DropoutConfig(rate=rate)


def test_all_rates_of_a_tree_are_found() -> None:
    encoder = {"encoder.attention.position.dropout", "encoder.attention.dropout", "encoder.dropout.rate"}
    lstm = {"decoder.readout_dropout.rate", "decoder.zone_cell", "decoder.zone_hidden"}
    transformer = {"decoder.dropout.rate", "decoder.input_dropout", "decoder.attention_dropout"}
    assert encoder | lstm <= dict(rate_fields(Experiment())).keys()
    assert encoder | transformer <= dict(rate_fields(Experiment(decoder=TransformerDecoderConfig()))).keys()
    assert dict(rate_fields(Experiment()))["decoder.zone_cell"] == 0.15


@pytest.mark.parametrize("dropout", [Dropout(RAMP, "none"), WeightDropout(RAMP, "none")])
def test_dropout_follows_its_schedule(dropout: Dropout | WeightDropout) -> None:
    assert dropout.rate == 0.5, "a model that is only used stands at the end of its schedules"
    torch.manual_seed(0)
    for step, rate in ((4, 0.25), (9, 0.5), (10**6, 0.5)):
        advance(dropout, at(step))
        dropped = (dropout(torch.ones(200, 500)) == 0).float().mean().item()
        assert dropped == pytest.approx(rate, abs=4 * (rate * (1 - rate) / 100_000) ** 0.5)


def test_zoneout_follows_its_schedule_also_in_evaluation() -> None:
    lstm = ZoneoutLstm(3, 4, zone_cell=RAMP, zone_hidden=0.1, zoned_output=True, share="none").eval()
    fixed = ZoneoutLstm(3, 4, zone_cell=0.25, zone_hidden=0.1, zoned_output=True, share="none").eval()
    fixed.load_state_dict(lstm.state_dict())
    state, gates = LstmState(torch.randn(2, 4), torch.randn(2, 4)), torch.randn(2, 16)
    assert not torch.equal(lstm(gates, state)[1].cell, fixed(gates, state)[1].cell)
    lstm.advance(at(4))
    assert torch.equal(lstm(gates, state)[1].cell, fixed(gates, state)[1].cell)


def test_every_rate_of_a_model_may_be_a_schedule_that_equals_the_number_where_it_has_its_value() -> None:
    plain = micro_experiment().with_("encoder.attention.position.dropout", 0.1)
    ramped = plain
    for path, rate in rate_fields(plain):
        ramped = ramped.with_(path, {"kind": "piecewise_linear", "nodes": (100,), "values": (0.0, rate)})
    models = []
    for experiment in (plain, ramped):
        torch.manual_seed(0)
        models.append(experiment.build_model(9).train())
    assert list(models[0].state_dict()) == list(models[1].state_dict())
    audio, lengths = torch.rand(2, 16000) - 0.5, torch.tensor([16000, 12000])
    features = models[0].features(audio, lengths)

    def states(model: Any, step: int) -> torch.Tensor:
        torch.manual_seed(3)
        advance(model, at(step))
        encoded: torch.Tensor = model.encode(features).states
        return encoded

    assert torch.equal(states(models[0], 100), states(models[1], 100))
    assert not torch.equal(states(models[0], 10), states(models[1], 10))
