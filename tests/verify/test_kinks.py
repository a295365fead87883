"""Gradients are allowed what a unit at the kink of its ReLU can make, and nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aedo.experiment import Experiment
from aedo.interop.returnn import foreign_name
from aedo.model.aed import AED
from aedo.verify.check import GRADIENT, Check
from aedo.verify.folder import GoldenFolder, Inputs
from aedo.verify.kinks import kink_allowances
from aedo.verify.stations import run
from aedo.verify.training import gradient_checks, totals_of, without_randomness
from tests.verify.test_other_models import CONFIG, experiment_for, write

WEIGHT, CHANNEL = "frontend.convolutions.0.weight", 2


@pytest.fixture
def at_kink(tmp_path: Path) -> tuple[Experiment, AED, Inputs]:
    """A model one of whose units is zero, but for rounding, in a channel that is far from it otherwise."""
    write(tmp_path, "lstm")
    inputs, experiment = GoldenFolder.open(tmp_path).inputs, experiment_for(CONFIG)
    torch.manual_seed(3)
    model = without_randomness(experiment.build_model(17))
    found: list[Tensor] = []
    first = model.frontend.convolutions[0]
    with torch.no_grad():
        hook = first.register_forward_hook(lambda _, __, output: found.append(output))
        model.frontend.convolve(model.features(inputs.audio, inputs.lengths))
        hook.remove()
        values = found[0].unflatten(-1, (-1, 2)).amax(-1)[0, CHANNEL].flatten()  # of the first utterance
        first.bias[CHANNEL] -= values.sort().values[len(values) // 2]  # type: ignore[operator, index]
    return experiment, model, inputs


def gradient(experiment: Experiment, model: AED, inputs: Inputs) -> tuple[Tensor, Tensor]:
    totals = totals_of(experiment, model, inputs, run(model, inputs))
    return torch.autograd.grad(totals.totals["labels"], model.get_parameter(WEIGHT), retain_graph=True)[0], totals  # type: ignore[return-value]


def test_only_channels_with_a_unit_at_zero_are_allowed_anything(at_kink: tuple[Experiment, AED, Inputs]) -> None:
    experiment, model, inputs = at_kink
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    allowances = kink_allowances(experiment, model, inputs)
    assert set(allowances) == {WEIGHT, WEIGHT.replace("weight", "bias")}
    allowed, largest = allowances[WEIGHT].amax((1, 2, 3)), gradient(experiment, model, inputs)[0].abs().max()
    assert allowed[CHANNEL] > GRADIENT * largest
    others = torch.arange(len(allowed)) != CHANNEL
    assert (allowed[others] < 0.1 * GRADIENT * largest).all()
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items() if "running" not in name
    )


def test_the_other_side_of_the_kink_is_right_and_other_differences_are_wrong(
    at_kink: tuple[Experiment, AED, Inputs],
) -> None:
    experiment, model, inputs = at_kink
    ours, totals = gradient(experiment, model, inputs)
    allowance = kink_allowances(experiment, model, inputs)[WEIGHT]
    name, transform = foreign_name(WEIGHT, model)

    def check(expected: Tensor, *, kinks: bool = True) -> Check:
        reference = {
            f"grad/{name}": transform(expected).numpy(),
            "grad_norms_names": torch.tensor([]).numpy(),
            "grad_norms_normalized": torch.tensor([]).numpy(),
        }
        allowances = partial(kink_allowances, experiment, model, inputs) if kinks else dict
        checks = gradient_checks(model, totals, reference, allowances)  # type: ignore[arg-type]
        return next(each for each in checks if each.station == f"grad/{name}")

    assert check(ours).ok
    other_side = ours.clone()
    other_side[CHANNEL] += allowance[CHANNEL]
    assert check(other_side).ok
    assert not check(other_side, kinks=False).ok
    for channel, share in ((CHANNEL, 2.0), ((CHANNEL + 1) % len(ours), 1.0)):
        wrong = ours.clone()
        wrong[channel] += share * allowance[CHANNEL]
        assert not check(wrong).ok


def test_models_without_such_a_convolution_are_allowed_nothing(at_kink: tuple[Experiment, AED, Inputs]) -> None:
    experiment, model, inputs = at_kink
    model.frontend = torch.nn.Identity()  # type: ignore[assignment]
    assert kink_allowances(experiment, model, inputs) == {}
