"""The optimizers: each against a loop that says what it does, number by number; their states; missing gradients."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from aedo.train.nadam_tf import NAdamTf
from aedo.train.optimizers import MOMENTS, Kind, OptimizerConfig
from aedo.train.param_groups import WeightDecayConfig
from aedo.train.scaled_adam import LARGEST, PERIOD, SMALLEST, ScaledAdam

KINDS: tuple[Kind, ...] = get_args(Kind)
STEPS = 6
BETAS, EPS, LR, DECAY = (0.8, 0.95), 1e-6, 0.05, 0.1

State = dict[str, float]


class Model(nn.Module):
    """A matrix, a bias that is zero, a single number."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.tensor(1.5))
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(2, 3, generator=random))
            self.linear.bias.zero_()


def config_of(kind: Kind, **fields: Any) -> OptimizerConfig:
    decay = WeightDecayConfig(value=0.0 if kind == "scaled_adam" else DECAY)
    return OptimizerConfig(kind=kind, betas=BETAS, eps=EPS, weight_decay=decay, **fields)


def built(kind: Kind, model: nn.Module, **fields: Any) -> torch.optim.Optimizer:
    optimizer = config_of(kind, **fields).build(model)
    for group in optimizer.param_groups:
        group["lr"] = LR
    return optimizer


def gradients(steps: int = STEPS) -> Iterator[list[Tensor]]:
    """Random ones for each parameter, of sizes that differ from step to step."""
    random = torch.Generator().manual_seed(1)
    for step in range(steps):
        yield [torch.randn(p.shape, generator=random) * 2.0 ** (step % STEPS) for p in Model().parameters()]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS, skip: int = 0) -> None:
    for number, values in enumerate(gradients(steps)):
        if number < skip:
            continue
        for parameter, gradient in zip(model.parameters(), values):
            parameter.grad = gradient.clone()
        optimizer.step()


def by_number(update: Callable[[float, float, State, int, bool], float]) -> dict[str, Tensor]:
    """The parameters after all steps of an update given for one number: (value, gradient, state, step, decays)."""
    model = Model()
    states: list[list[State]] = [[{"m": 0.0, "v": 0.0} for _ in range(p.numel())] for p in model.parameters()]
    values = [p.detach().double().flatten().tolist() for p in model.parameters()]
    names = [name for name, _ in model.named_parameters()]
    for step, each in enumerate(gradients(), start=1):
        for index, gradient in enumerate(each):
            for at, g in enumerate(gradient.double().flatten().tolist()):
                decays = not names[index].endswith("bias")
                values[index][at] = update(values[index][at], g, states[index][at], step, decays)
    shapes = dict(model.named_parameters())
    return {name: torch.tensor(found).view(shapes[name].shape) for name, found in zip(names, values)}


def moments(g: float, state: State) -> tuple[float, float]:
    state["m"] = BETAS[0] * state["m"] + (1 - BETAS[0]) * g
    state["v"] = BETAS[1] * state["v"] + (1 - BETAS[1]) * g * g
    return state["m"], state["v"]


def adam(p: float, g: float, state: State, t: int, decays: bool) -> float:
    m, v = moments(g + DECAY * p * decays, state)
    return p - LR * (m / (1 - BETAS[0] ** t)) / (math.sqrt(v / (1 - BETAS[1] ** t)) + EPS)


def adamw(p: float, g: float, state: State, t: int, decays: bool) -> float:
    m, v = moments(g, state)
    return p * (1 - LR * DECAY * decays) - LR * (m / (1 - BETAS[0] ** t)) / (math.sqrt(v / (1 - BETAS[1] ** t)) + EPS)


def nadam(p: float, g: float, state: State, t: int, decays: bool) -> float:
    g += DECAY * p * decays
    m, v = moments(g, state)
    now, after = (BETAS[0] * (1 - 0.5 * math.pow(0.96, k * 0.004)) for k in (t, t + 1))
    state["product"] = state.get("product", 1.0) * now
    step = (1 - now) / (1 - state["product"]) * g + after / (1 - state["product"] * after) * m
    return p - LR * step / (math.sqrt(v / (1 - BETAS[1] ** t)) + EPS)


def nadam_tf(p: float, g: float, state: State, t: int, decays: bool) -> float:
    g += DECAY * p * decays
    m, v = moments(g, state)
    rate = LR * math.sqrt(1 - BETAS[1] ** t) / (1 - BETAS[0] ** t)
    return p - rate * (BETAS[0] * m + (1 - BETAS[0]) * g) / (math.sqrt(v) + EPS)


@pytest.mark.parametrize("update", [adam, adamw, nadam, nadam_tf], ids=lambda update: update.__name__)
def test_an_optimizer_updates_as_its_formula_says(update: Any) -> None:
    model = Model()
    train(model, built(update.__name__, model))
    for name, expected in by_number(update).items():
        torch.testing.assert_close(model.state_dict()[name], expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "theirs"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("nadam", torch.optim.NAdam)]
)
def test_those_that_torch_has_equal_torch(kind: Kind, theirs: Any) -> None:
    ours, reference = Model(), Model()
    train(ours, built(kind, ours))
    groups = [
        {"params": [reference.linear.weight, reference.scale], "weight_decay": DECAY},
        {"params": [reference.linear.bias], "weight_decay": 0.0},
    ]
    train(reference, theirs(groups, lr=LR, betas=BETAS, eps=EPS))
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_nadam_tf_is_adam_where_the_gradient_never_changes_and_not_the_nadam_of_torch() -> None:
    """With a constant gradient g and no epsilon, m = (1 - b1^t) g: Adam steps by lr, Nesterov's look ahead by more."""
    found: dict[Kind, list[float]] = {"adam": [], "nadam": [], "nadam_tf": []}
    for kind, steps in found.items():
        layer = nn.Linear(1, 1)
        config = OptimizerConfig(kind=kind, eps=1e-30, weight_decay=WeightDecayConfig(value=0.0))
        optimizer = config.build(layer)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for _ in range(40):
            before = layer.bias.item()
            layer.bias.grad = torch.ones(1)
            optimizer.step()
            steps.append(before - layer.bias.item())
    assert found["adam"] == pytest.approx([0.1] * 40, rel=1e-4)
    ahead = [0.1 * (0.9 * (1 - 0.9**t) + 0.1) / (1 - 0.9**t) for t in range(1, 41)]
    assert found["nadam_tf"] == pytest.approx(ahead, rel=1e-4)
    assert abs(found["nadam"][0] - found["nadam_tf"][0]) > 0.02


def scaled_by_hand(model: Model) -> dict[str, Tensor]:
    """ScaledAdam in double precision, tensor by tensor, from the paper's formulas and the limits of the sizes."""
    values = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    m, v = ({name: torch.zeros_like(value) for name, value in values.items()} for _ in range(2))
    n, w = (dict.fromkeys(values, 0.0) for _ in range(2))
    b1, b2 = BETAS
    for t, each in enumerate(gradients(), start=1):
        correction = math.sqrt(1 - b2**t) / (1 - b1**t)
        for (name, p), g in zip(values.items(), each):
            g = g.double()
            m[name], v[name] = b1 * m[name] + (1 - b1) * g, b2 * v[name] + (1 - b2) * g**2
            direction = m[name] / (v[name].sqrt() + EPS)
            if p.numel() == 1:
                values[name] = p - 0.1 * LR * correction * direction
                continue
            slope = float((g * p).sum())
            n[name], w[name] = b1 * n[name] + (1 - b1) * slope, b2 * w[name] + (1 - b2) * slope**2
            size = float(p.square().mean().sqrt())
            growth = -0.1 * LR * correction * n[name] / (math.sqrt(w[name]) + EPS)
            if size < SMALLEST:
                growth = max(growth, 0.0)
            values[name] = p * (1 + growth) - LR * correction * max(size, SMALLEST) * direction
    return values


def test_scaled_adam_updates_as_its_formula_says() -> None:
    model = Model()
    expected = scaled_by_hand(model)
    train(model, built("scaled_adam", model))
    for name, value in expected.items():
        torch.testing.assert_close(model.state_dict()[name], value.float(), rtol=1e-5, atol=1e-9)


def test_scaled_adam_changes_a_tensor_in_proportion_to_its_size() -> None:
    torch.manual_seed(0)
    small, large = nn.Linear(3, 2), nn.Linear(3, 2)
    with torch.no_grad():
        for ours, theirs in zip(large.parameters(), small.parameters()):
            ours.copy_(theirs * 4)
    for model in (small, large):
        optimizer = ScaledAdam(model.parameters(), lr=0.1, eps=1e-30)
        random = torch.Generator().manual_seed(1)
        for _ in range(5):
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=random)
            optimizer.step()
    for ours, theirs in zip(large.parameters(), small.parameters()):
        torch.testing.assert_close(ours, theirs * 4)


def test_scaled_adam_shrinks_what_is_too_large_whatever_the_gradient_says() -> None:
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.fill_(10 * LARGEST)
    optimizer = ScaledAdam(layer.parameters(), lr=0.1, eps=1e-30)
    layer.weight.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), torch.full((4, 4), 10 * LARGEST * (1 - 0.1 * 0.1)))


def test_scaled_adam_bounds_the_norm_by_the_median_of_a_hundred_updates() -> None:
    """Gradients of norm 1 to 100, then one of 1000: it counts as 2 x the median (50; torch takes the lower one)."""
    unbounded, bounded = (nn.Linear(2, 1, bias=False) for _ in range(2))
    seen: list[float] = []
    for layer, clip in ((unbounded, None), (bounded, 2.0)):
        with torch.no_grad():
            layer.weight.fill_(1.0)  # of size 1
        optimizer = ScaledAdam(layer.parameters(), lr=0.0, betas=(0.0, 0.0), eps=1e-8, median_clip=clip)
        for norm in [*range(1, PERIOD + 1), 1000]:
            layer.weight.grad = torch.tensor([[float(norm), 0.0]])
            optimizer.step()
            if norm == PERIOD:
                assert optimizer.state[layer.weight]["mean"][0, 0].item() == PERIOD, "the first hundred are not bounded"
        seen.append(optimizer.state[layer.weight]["mean"][0, 0].item())
    assert seen == pytest.approx([1000.0, 2.0 * 50.0])
    assert bounded.weight.grad is not None
    assert bounded.weight.grad[0, 0].item() == 1000.0, "the gradients themselves stay"


def test_scaled_adam_takes_no_weight_decay() -> None:
    with pytest.raises(ValidationError, match="scaled_adam knows no weight decay"):
        OptimizerConfig(kind="scaled_adam")


CASES: list[tuple[Kind, dict[str, Any]]] = [*((kind, {}) for kind in KINDS), ("scaled_adam", {"median_clip": 0.5})]


@pytest.mark.parametrize(("kind", "fields"), CASES)
def test_a_state_goes_on_bit_for_bit_and_is_loaded_without_running_code(kind: Kind, fields: dict[str, Any]) -> None:
    straight = Model()
    train(straight, built(kind, straight, **fields), PERIOD + 5)
    first, file = Model(), io.BytesIO()
    optimizer = built(kind, first, **fields)
    train(first, optimizer, PERIOD - 2)
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = copy.deepcopy(first)
    later = built(kind, resumed, **fields)
    later.load_state_dict(torch.load(file, weights_only=True))
    train(resumed, later, PERIOD + 5, skip=PERIOD - 2)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.parametrize(("kind", "fields"), CASES)
def test_parameters_without_gradient_stay_and_start_anew_when_they_get_one(kind: Kind, fields: dict[str, Any]) -> None:
    model, fresh = Model(), Model()
    optimizer = built(kind, model, **fields)
    before = model.linear.weight.detach().clone()
    for _ in range(3):
        model.scale.grad = torch.tensor(1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    optimizer.step()
    assert torch.equal(model.linear.weight, before)
    train(model, optimizer, 2)
    train(fresh, built(kind, fresh, **fields), 2)
    torch.testing.assert_close(model.linear.weight, fresh.linear.weight)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_as_large_as_is_said_for_the_check_of_the_disk(kind: Kind) -> None:
    layer = nn.Linear(100, 100)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = built(kind, layer)
    optimizer.step()
    kept = sum(
        value.numel() for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)
    )
    weights = sum(parameter.numel() for parameter in layer.parameters())
    assert MOMENTS * weights <= kept <= MOMENTS * weights + 10


def test_a_step_takes_no_closure() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    for optimizer in (NAdamTf([parameter]), ScaledAdam([parameter])):
        with pytest.raises(AssertionError):
            optimizer.step(lambda: 0.0)
