"""What gradients may owe to the side of a kink that rounding chose.

A ReLU whose argument is zero but for rounding passes its gradient on or does not, as the sums in front of it were
rounded: two systems that are both right then differ by the whole gradient of that unit.  The convolution next to the
features has millions of units and few weights, so that one such unit shows in its gradient; further behind none does.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from aedo.experiment import Experiment
from aedo.losses.objective import Objective
from aedo.model.aed import AED
from aedo.model.frontend import ConvFrontend
from aedo.model.labels import Labels
from aedo.schedule import START
from aedo.verify.folder import Inputs

NEXT_TO_FEATURES = "frontend.convolutions.0."
"""The layer in whose gradients single units show: how the names of its parameters begin."""


def kink_allowances(experiment: Experiment, model: AED, inputs: Inputs) -> dict[str, Tensor]:
    """By parameter of the first convolution: how far its gradient moves between the two sides of all kinks.

    The gradients are those of the total loss by labels, with every unit's argument moved up, and then down, by the
    rounding error of the largest one.  Empty where the front-end has no such convolution.  The model stays as it is.
    """
    if not isinstance(model.frontend, ConvFrontend):
        return {}
    names = [name for name, _ in model.named_parameters() if name.startswith(NEXT_TO_FEATURES)]
    step = torch.finfo(torch.float32).eps * _largest(copy.deepcopy(model), inputs)
    objective = Objective(experiment.loss.with_("normalization", "labels"), experiment.ctc)
    sides = []
    for moved in (step, -step):
        shifted = copy.deepcopy(model)
        parameters = [shifted.get_parameter(name) for name in names]
        with torch.no_grad():
            shifted.get_parameter(f"{NEXT_TO_FEATURES}bias").add_(moved)
        with torch.enable_grad():
            outputs = shifted(shifted.features(inputs.audio, inputs.lengths), Labels(*inputs.labels))
            total = objective(outputs, Labels(*inputs.labels), START).total
        sides.append(torch.autograd.grad(total, parameters))
    return {name: (up - down).abs() for name, up, down in zip(names, *sides, strict=True)}


@torch.no_grad()
def _largest(model: AED, inputs: Inputs) -> float:
    """Largest magnitude that the first convolution gives."""
    found: list[Tensor] = []
    assert isinstance(model.frontend, ConvFrontend)
    hook = model.frontend.convolutions[0].register_forward_hook(lambda _, __, output: found.append(output.abs().max()))
    model.frontend.convolve(model.features(inputs.audio, inputs.lengths))
    hook.remove()
    return float(found[0])
