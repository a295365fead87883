"""What happens to gradients: division, noise, clipping, in this order."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from aedo.schedule import PowerDecay, Progress
from aedo.train.gradients import GradientTransform, divide, total_norm, truncated_normal
from tests.train.test_step import at, batch, same, step_of


def test_the_noise_is_normal_within_two_standard_deviations() -> None:
    torch.manual_seed(0)
    noise = truncated_normal(torch.empty(1_000_000))
    assert noise.abs().max() <= 2 + 1e-4
    assert noise.mean().abs() < 0.004  # 4.5 standard errors
    assert noise.std().item() == pytest.approx(0.8796, abs=0.003)  # of a normal distribution cut off at 2
    inside = (noise.abs() < 1).float().mean().item()
    assert inside == pytest.approx(0.6827 / 0.9545, abs=0.003)


def gradients_of(noise: Any, clip: float | None, progress: Progress) -> tuple[torch.Tensor, float]:
    parameter = torch.nn.Parameter(torch.zeros(100_000))
    parameter.grad = torch.full_like(parameter, 3.0)
    torch.manual_seed(0)
    norm = GradientTransform(noise, clip)([parameter], progress)
    return parameter.grad, norm.item()


def test_noise_of_the_stated_deviation_is_added_before_clipping() -> None:
    noisy, norm = gradients_of(0.1, None, at(0))
    assert (noisy - 3).std().item() == pytest.approx(0.08796, rel=0.02)
    assert norm == pytest.approx(noisy.norm().item(), rel=1e-5)
    clipped, before = gradients_of(0.1, 1.0, at(0))
    assert before == norm
    torch.testing.assert_close(clipped, noisy / norm, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("size", "clip", "expected"), [(3.0, 4.0, 3.0), (3.0, 3.001, 3.0), (3.0, 1.5, 1.5)])
def test_only_gradients_beyond_the_limit_are_made_smaller(size: float, clip: float, expected: float) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([size])
    assert GradientTransform(0.0, clip)([parameter], at(0)).item() == size
    assert parameter.grad.item() == pytest.approx(expected, rel=1e-4)


def test_a_norm_that_is_no_number_reaches_the_gradients() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, math.nan])
    assert math.isnan(GradientTransform(0.0, 1.0)([parameter], at(0)).item())
    assert parameter.grad.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_norm_is_that_of_all_gradients_however_they_lie_in_memory(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(shape, dtype=dtype) for shape in ((30, 20), (5,), (), (2, 3, 4, 5))]
    gradients = [gradients[0].t(), *gradients[1:3], gradients[3].to(memory_format=torch.channels_last)]
    exact = torch.cat([gradient.double().flatten() for gradient in gradients]).norm()
    found = total_norm(gradients)
    assert (found.shape, found.dtype) == ((), dtype)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)
    assert total_norm([]) == 0.0


def test_decaying_noise_has_the_variance_of_its_source() -> None:
    schedule = PowerDecay(start=0.1, power=0.275)
    for updates in (0, 99):
        noisy, _ = gradients_of(schedule, None, Progress(0, updates, 0.0, 0.0))
        expected = 0.8796**2 * 0.01 / (1 + updates) ** 0.55
        assert (noisy - 3).var().item() == pytest.approx(expected, rel=0.03)


def test_without_noise_no_random_number_is_drawn() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    _, norm = gradients_of(0.0, None, at(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert norm == pytest.approx(3 * 100_000**0.5)


def test_the_noise_depends_on_seed_and_micro_step_alone() -> None:
    def updated(seed: int, number: int) -> dict[str, torch.Tensor]:
        step = step_of(seed=seed, gradients={"noise": 0.1}, accumulate=1)
        step.micro_step(batch(0), at(0))
        torch.rand(number)
        assert step.update(at(0)).applied
        return step.model.state_dict()

    assert same(updated(1, 3), updated(1, 5))
    assert not same(updated(1, 3), updated(2, 3))


def summed(**gradients: Any) -> list[torch.Tensor]:
    """Gradients of two micro-steps as the optimizer gets them."""
    step = step_of(gradients=gradients)
    for number in (0, 1):
        step.micro_step(batch(number), at(number))
    divide(step.parameters, step._divisor())
    return [parameter.grad for parameter in step.parameters if parameter.grad is not None]


def test_divided_gradients_are_half_of_those_summed_over_two_micro_steps() -> None:
    for whole, half in zip(summed(), summed(divide=True)):
        torch.testing.assert_close(half, whole / 2)


def test_labels_of_all_micro_steps_divide_where_the_losses_are_not_divided_yet() -> None:
    step, plain = step_of(accumulate=3), step_of(accumulate=3)
    objective = step.objective
    for number, labels in enumerate((4, 7, 9)):
        step.objective = lambda *way, labels=labels: objective(*way)._replace(labels=labels)  # type: ignore[assignment]
        for each in (step, plain):
            each.micro_step(batch(number), at(number))
    assert step._divisor() == 20
    assert plain._divisor() == 1
    norm, expected = step.update(at(2)).grad_norm, plain.update(at(2)).grad_norm / 20
    assert norm == pytest.approx(expected, rel=1e-5)
