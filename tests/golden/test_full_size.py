"""The full-size model: parameter names, shapes and initial values of the reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aedo.experiment import Experiment
from aedo.interop.returnn import foreign_name
from aedo.model.aed import AED

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def model() -> AED:
    torch.manual_seed(0)
    return Experiment().build_model(10025)


def test_every_parameter_and_buffer_has_its_counterpart_of_the_same_shape(model: AED) -> None:
    reference = json.loads((DATA / "full_param_shapes.json").read_text())
    shapes = {entry["name"]: tuple(entry["shape"]) for entry in reference["entries"]}
    ours = {}
    for name, value in model.state_dict().items():
        theirs, transform = foreign_name(name, model)
        ours[theirs] = tuple(transform(value).shape)
    assert ours == shapes
    assert sum(parameter.numel() for parameter in model.parameters()) == reference["num_params"] == 108_668_093


def test_initial_values_have_the_reference_distribution(model: AED) -> None:
    reference = {entry["name"]: entry for entry in json.loads((DATA / "init.json").read_text())["params"]}
    for name, parameter in model.named_parameters():
        entry, size = reference[foreign_name(name, model)[0]], parameter.numel()
        if entry["std"] == 0:
            assert (parameter == entry["mean"]).all(), name
            continue
        # Five standard errors of the standard deviation of a uniform distribution, for two independent samples.
        assert parameter.std().item() == pytest.approx(entry["std"], rel=5 * (0.8 / size) ** 0.5 + 1e-4), name
        assert parameter.abs().max().item() == pytest.approx(max(-entry["min"], entry["max"]), rel=10 / size + 1e-3), (
            name
        )
