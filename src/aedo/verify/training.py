"""Losses in both modes, gradients, and what one pass in training mode does to the running statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from aedo.experiment import Experiment
from aedo.interop.returnn import foreign_name
from aedo.losses.objective import Normalization, Objective
from aedo.model.aed import AED
from aedo.model.labels import Labels
from aedo.nn.norms import MaskedBatchNorm
from aedo.schedule import START
from aedo.verify.check import GRADIENT, VALUE, Check, relative
from aedo.verify.folder import Array, Inputs
from aedo.verify.kinks import NEXT_TO_FEATURES
from aedo.verify.stations import Pass, head_name

NOISE = 1e-4
"""Largest gradient norm, relative to the largest of all parameters, of a parameter that has no effect."""
TINY = 1e-6
"""Gradients below this share of the largest norm are rounding errors: differences are measured against it instead."""

M = TypeVar("M", bound=nn.Module)

_FOREIGN = {"labels": "normalized", "sum": "unnormalized"}


@dataclass(frozen=True)
class Totals:
    """What the objective says of a pass, as the reference names it."""

    values: dict[str, Tensor]
    totals: dict[Normalization, Tensor]
    """To differentiate."""


def without_randomness(model: M) -> M:
    """Training mode in which only BatchNorm behaves as in training."""
    model.train()
    for module in model.modules():
        for rate in ("rate", "dropout", "zone_cell", "zone_hidden"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    return model


def totals_of(experiment: Experiment, model: AED, inputs: Inputs, passed: Pass) -> Totals:
    """Means, sums and totals of all losses."""
    values: dict[str, Tensor] = {}
    totals: dict[Normalization, Tensor] = {}
    normalizations: tuple[Normalization, ...] = ("labels", "sum")
    for normalization in normalizations:
        objective = Objective(experiment.loss.with_("normalization", normalization), experiment.ctc)
        losses = objective(passed.outputs, Labels(*inputs.labels), START)
        totals[normalization] = losses.total
        values[f"total_loss_{_FOREIGN[normalization]}"] = losses.total.detach()
    for term in losses.terms:
        name = _foreign_term(model, term.name)
        values[f"loss_mean_{name}"] = (term.sum / term.count).float()
        values[f"loss_sum_{name}"] = term.sum.float()
    return Totals(values, totals)


def gradient_checks(
    model: AED, totals: Totals, reference: dict[str, Array], kinks: Callable[[], dict[str, Tensor]]
) -> Iterator[Check]:
    """Norms of all gradients, and the gradients the folder holds, of both totals.

    `kinks`: allowances by parameter, asked where a gradient is out of bounds.
    """
    parameters = dict(model.named_parameters())
    for normalization, total in totals.totals.items():
        suffix = _FOREIGN[normalization]
        theirs = reference.get(f"grad_norms_{suffix}")
        names = reference.get("grad_norms_names")
        if theirs is None or names is None:
            continue
        if theirs.shape != names.shape:
            yield Check("gradients", f"grad_norms_{suffix}", float("inf"), GRADIENT, f"{len(names)} grad_norms_names")
            continue
        gradients = dict(
            zip(parameters, torch.autograd.grad(total, list(parameters.values()), retain_graph=True, allow_unused=True))
        )
        norms = {str(name): float(norm) for name, norm in zip(names, theirs, strict=True)}
        yield from _norm_checks(model, gradients, norms, f"grad_norms_{suffix}")
        if f"grad_global_norm_{suffix}" in reference:
            squares = [gradient.double().square().sum() for gradient in gradients.values() if gradient is not None]
            ours = torch.stack(squares).sum().sqrt()
            difference, note = relative(ours, torch.as_tensor(reference[f"grad_global_norm_{suffix}"]))
            yield Check("gradients", f"grad_global_norm_{suffix}", difference, GRADIENT, note)
        if normalization == "labels":
            yield from _value_checks(model, gradients, max(norms.values(), default=0.0), reference, kinks)


def statistics_checks(model: AED, reference: dict[str, Array]) -> Iterator[Check]:
    """Running statistics after the one pass."""
    for name, buffer in model.named_buffers():
        if "running" not in name:
            continue
        station = f"running_after/{foreign_name(name, model)[0]}"
        if station in reference:
            difference, note = relative(buffer, torch.as_tensor(reference[station]))
            yield Check("BatchNorm updates", station, difference, VALUE, note)


def _norm_checks(
    model: AED, gradients: Mapping[str, Tensor | None], norms: dict[str, float], station: str
) -> Iterator[Check]:
    """One check over all norms: the worst parameter is named."""
    largest = max(norms.values(), default=0.0) or 1.0
    silent = _without_effect(model)
    worst, note, left = 0.0, "", dict(norms)
    for name, gradient in gradients.items():
        foreign = foreign_name(name, model)[0]
        theirs, ours = left.pop(foreign, None), 0.0 if gradient is None else float(gradient.double().norm())
        if name in silent:
            difference = 0.0 if ours <= NOISE * largest else ours / largest
        elif theirs is None:
            difference = 0.0 if gradient is None else float("inf")
        else:
            difference = abs(ours - theirs) / max(theirs, TINY / GRADIENT * largest)
        if not difference <= worst:
            worst, note = difference, f"worst: {foreign}"
    if left:
        worst, note = float("inf"), f"no parameter of ours: {', '.join(sorted(left)[:3])}"
    yield Check("gradients", station, worst, GRADIENT, note or f"{len(norms)} parameters")


def _value_checks(
    model: AED,
    gradients: Mapping[str, Tensor | None],
    largest: float,
    reference: dict[str, Array],
    kinks: Callable[[], dict[str, Tensor]],
) -> Iterator[Check]:
    silent, allowances = _without_effect(model), None
    for name, gradient in gradients.items():
        foreign, transform = foreign_name(name, model)
        if f"grad/{foreign}" not in reference or gradient is None:
            continue
        if name in silent:
            share = float(gradient.norm()) / (largest or 1.0)
            yield Check(
                "gradients", f"grad/{foreign}", share, NOISE, "cancelled by the BatchNorm behind it: only small"
            )
            continue
        expected = torch.as_tensor(reference[f"grad/{foreign}"])
        ours, scale = transform(gradient), TINY / GRADIENT * largest
        difference, note = relative(ours, expected, scale=scale)
        if GRADIENT < difference < math.inf and name.startswith(NEXT_TO_FEATURES):
            allowances = kinks() if allowances is None else allowances
            if name in allowances:
                difference, _ = relative(ours, expected, scale=scale, allowance=transform(allowances[name]))
                note = "less what units at the kink of their ReLU can make"
        yield Check("gradients", f"grad/{foreign}", difference, GRADIENT, note)


def _without_effect(model: AED) -> set[str]:
    """Biases that a BatchNorm right behind them cancels: their gradient is rounding noise in any system."""
    return {
        f"{name}.depthwise.bias"
        for name, module in model.named_modules()
        if isinstance(getattr(module, "norm", None), MaskedBatchNorm)
        and isinstance(getattr(module, "depthwise", None), nn.Conv1d)
    }


def _foreign_term(model: AED, name: str) -> str:
    if name == "ler" or name.startswith("ler_"):
        return f"fer{name.removeprefix('ler')}"
    if name.startswith("ctc_"):
        head = head_name(model, int(name.removeprefix("ctc_")))
        return "ctc" if head == "final" else f"ctc_{head}"
    return name
