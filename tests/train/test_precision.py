"""Numbers of fewer bits, and the scale of the loss."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.errors import UserError
from aedo.run import RunFolder
from aedo.train.failures import Failures
from aedo.train.precision import Precision, ScalerChoice, computed, gradient_scaler
from aedo.train.step import Step, Update
from tests.train.test_step import CPU, at, batch, same, step_of, total, weights


@pytest.mark.parametrize(
    ("precision", "choice", "expected"),
    [
        ("float32", "auto", False),
        ("bfloat16", "auto", False),
        ("float16", "auto", True),
        ("bfloat16", "on", True),
        ("float16", "off", False),
    ],
)
def test_only_float16_has_a_scaler_unless_it_is_said(
    precision: Precision, choice: ScalerChoice, expected: bool
) -> None:
    assert (gradient_scaler(precision, choice, CPU) is not None) == expected


def one_update(step: Step) -> Update:
    for number in (0, 1):
        step.micro_step(batch(number), at(number))
    return step.update(at(1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_scale_of_a_power_of_two_changes_nothing_but_what_underflows(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aedo.train.precision.emulates_bfloat16", lambda device: False)
    plain, scaled = step_of(precision=precision), step_of(precision=precision, grad_scaler="on")
    first, second = one_update(plain), one_update(scaled)
    assert second.totals == first.totals
    assert second.grad_norm == pytest.approx(first.grad_norm, rel=1e-6)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(scaled.model.state_dict()[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("emulated", [False, True])
def test_a_processor_that_only_emulates_bfloat16_computes_in_float32(
    emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aedo.train.precision.emulates_bfloat16", lambda device: emulated)
    asked, exact = (step_of(precision=precision) for precision in ("bfloat16", "float32"))
    assert (one_update(asked).totals == one_update(exact).totals) is emulated
    assert computed(torch.device("cpu"), "bfloat16") == ("float32" if emulated else "bfloat16")
    assert computed(torch.device("cpu"), "float16") == "float16"


def test_float16_trains_on_the_cpu_with_parameters_in_float32() -> None:
    step = step_of(precision="float16", accumulate=1)
    seen: list[torch.dtype] = []
    step.model.encoder.layers[0].ff1.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    loss = total(step, 0)
    applied = step.update(at(0)).applied
    for number in range(1, 12):  # the scale may have to come down first
        step.micro_step(batch(number), at(number))
        applied = step.update(at(number)).applied
    assert applied
    assert set(seen) == {torch.float16}
    assert all(parameter.dtype == torch.float32 for parameter in step.parameters)
    assert loss == pytest.approx(total(step_of(), 0), rel=0.05)


def spoil(step: Step) -> None:
    gradient = next(p.grad for p in step.parameters if p.grad is not None)
    gradient.view(-1)[0] = float("inf")


def test_gradients_that_overflow_halve_the_scale_and_skip_the_update_without_blame() -> None:
    step = step_of(grad_scaler="on", accumulate=1)
    before = weights(step.model)
    step.micro_step(batch(0), at(0))
    spoil(step)
    update = step.update(at(0))
    assert (update.applied, update.bad, update.overflow) == (False, (), 65536.0)
    assert same(step.model.state_dict(), before)
    assert step.scaler is not None
    assert step.scaler.get_scale() == 32768.0
    step.micro_step(batch(1), at(1))
    assert step.update(at(1)).applied


def test_gradients_that_overflow_at_the_least_scale_or_losses_that_do_are_to_blame() -> None:
    step = step_of(grad_scaler="on", accumulate=1)
    assert step.scaler is not None
    step.scaler.update(1.0)
    step.micro_step(batch(0), at(0))
    spoil(step)
    assert step.update(at(0)).bad == (batch(0).ids,)
    bad = batch(1)
    bad.audio[0] = float("nan")
    fresh = step_of(grad_scaler="on", accumulate=1)
    fresh.micro_step(bad, at(0))
    update = fresh.update(at(0))
    assert (update.bad, update.overflow) == ((bad.ids,), None)


def test_the_scale_is_part_of_the_state() -> None:
    step, other = step_of(grad_scaler="on"), step_of(grad_scaler="on")
    assert step.scaler is not None
    assert other.scaler is not None
    step.scaler.update(128.0)
    other.load_state(copy.deepcopy(step.state()))
    assert other.scaler.get_scale() == 128.0
    assert other.scaler.state_dict() == step.scaler.state_dict()


def test_a_training_that_came_to_nothing_names_its_precision_and_where_that_began(tmp_path: Path) -> None:
    failures, update = Failures(3, "float16"), Update(1e-3, float("nan"), (1.0, float("nan")), (("a",),))
    run: Any = RunFolder(tmp_path)
    for micro_step in (11, 13):
        failures.skipped(update)
        if micro_step == 11:
            failures.check(run, micro_step)
    with pytest.raises(UserError, match=r"4 micro-steps in a row \(since micro-step 10\) .* in float16 .* or bfloat16"):
        failures.check(run, 13)
