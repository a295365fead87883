"""Schedules: pure functions of the position; their edges; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from aedo.recipes.names import resolve
from aedo.schedule import (
    START,
    ByEpoch,
    Constant,
    Leg,
    PiecewiseLinear,
    PowerDecay,
    Progress,
    Schedule,
    Steps,
    WarmupCosine,
    WarmupInverseSqrt,
    WavingInverseSqrt,
    peak_of,
    value_at,
)

EXAMPLES = [
    Constant(value=0.3),
    PiecewiseLinear(nodes=(10, 20), values=(0.0, 1.0, 0.5)),
    PiecewiseLinear(unit="fraction", nodes=(0.45, 0.9, 1.0), values=(1e-5, 1e-3, 1e-5, 1e-6)),
    WarmupInverseSqrt(peak=1e-3, warmup=20, norm=40),
    WavingInverseSqrt(peak=1e-3, warmup=20, norm=40, period=100),
    WarmupCosine(peak=1e-3, final=1e-6, warmup=2, hold=1, decay=10),
    ByEpoch(start=1e-3, legs=(Leg(epochs=3, end=1e-5), Leg(epochs=1, end=1e-6))),
    PowerDecay(start=0.1, power=0.275),
    Steps(unit="update", nodes=(5, 10), values=(1.0, 2.0, 3.0)),
]


def at_step(step: int) -> Progress:
    return Progress(step, step, 0.0, 0.0)


def at_epoch(epoch: float) -> Progress:
    return Progress(0, 0, epoch, 0.0)


class Holder(BaseModel):
    schedule: Schedule


@pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda schedule: schedule.kind)
def test_json_gives_back_the_same_schedule(schedule: Schedule) -> None:
    assert Holder.model_validate_json(Holder(schedule=schedule).model_dump_json()).schedule == schedule


@pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda schedule: schedule.kind)
@given(st.integers(0, 10_000), st.floats(0, 30), st.floats(0, 1))
def test_values_are_finite_and_not_negative_everywhere(
    schedule: Schedule, step: int, epoch: float, fraction: float
) -> None:
    value = value_at(schedule, Progress(step, step, epoch, fraction))
    assert math.isfinite(value)
    assert value >= 0


def test_a_plain_number_is_constant() -> None:
    assert value_at(4, START) == value_at(4.0, at_step(10**9)) == 4.0


def test_piecewise_linear_counts_steps_from_one_and_holds_its_last_value() -> None:
    schedule = PiecewiseLinear(nodes=(10, 20), values=(0.0, 1.0, 0.5))
    assert [schedule.at(at_step(step)) for step in (0, 4, 9, 14, 19, 1000)] == pytest.approx(
        [0.1, 0.5, 1, 0.75, 0.5, 0.5]
    )


def test_piecewise_linear_without_a_value_at_zero_starts_level() -> None:
    schedule = PiecewiseLinear(unit="epoch", nodes=(2, 4), values=(1.0, 0.0))
    assert [schedule.at(at_epoch(epoch)) for epoch in (0, 2, 3, 9)] == [1.0, 1.0, 0.5, 0.0]


def test_warmup_of_no_steps_starts_at_the_peak_of_the_decay() -> None:
    assert WarmupInverseSqrt(peak=1.0, warmup=0, norm=1).at(at_step(0)) == pytest.approx(1 / math.sqrt(2))


def test_waving_touches_the_envelope_once_a_period_and_the_floor_between() -> None:
    wave = WavingInverseSqrt(peak=1.0, warmup=0, norm=10**12, period=100, floor=0.01)
    assert [wave.at(at_step(step)) for step in (0, 50, 100)] == pytest.approx([1.0, 0.01, 1.0])


def test_cosine_warms_up_holds_and_arrives() -> None:
    schedule = WarmupCosine(peak=1.0, final=0.1, warmup=2, hold=1, decay=10)
    assert [schedule.at(at_epoch(epoch)) for epoch in (0, 1, 2, 3, 8, 13)] == pytest.approx([0, 0.5, 1, 1, 0.55, 0.1])


def test_values_by_epoch_change_only_between_epochs_and_meet_at_joints() -> None:
    schedule = ByEpoch(start=8.0, legs=(Leg(epochs=4, end=1.0, spacing="geometric"), Leg(epochs=3, end=0.5)))
    epochs = [0, 0.99, 1, 2, 3, 4, 5, 6, 100]
    assert [schedule.at(at_epoch(epoch)) for epoch in epochs] == pytest.approx([8, 8, 4, 2, 1, 1, 0.75, 0.5, 0.5])


def test_a_leg_may_begin_anew() -> None:
    schedule = ByEpoch(start=1.0, legs=(Leg(epochs=3, end=3.0), Leg(epochs=2, start=1.0, end=5.0)))
    assert [schedule.at(at_epoch(epoch)) for epoch in range(6)] == [1, 2, 3, 1, 5, 5]


def test_continuous_legs_change_within_epochs_and_arrive_at_their_ends() -> None:
    legs = (Leg(epochs=4, end=0.5, spacing="geometric"), Leg(epochs=2, end=0.1))
    schedule = ByEpoch(start=8.0, legs=legs, continuous=True)
    assert [schedule.at(at_epoch(epoch)) for epoch in (0, 0.5, 1, 4, 5, 6, 9)] == pytest.approx(
        [8, 8 / 2**0.5, 4, 0.5, 0.3, 0.1, 0.1]
    )


def test_rates_of_a_growing_encoder_climb_in_every_stage() -> None:
    """As numpy.linspace gives them for each stage."""
    stages = [np.linspace(1e-7, 1e-3, 10)] * 3 + [np.linspace(1e-7, 1e-3, 30), np.array([1e-3])]
    rates = resolve("24gb-v6-lrpre10").train.learning_rate
    assert [rates.at(at_epoch(epoch)) for epoch in range(61)] == pytest.approx(np.concatenate(stages), rel=1e-12)
    higher = [np.linspace(1e-4, 1e-3, 10)] * 3 + [np.linspace(1e-4, 5e-4, 10), np.linspace(5e-4, 1e-3, 20)]
    rates = resolve("24gb-v6-lrpre9").train.learning_rate
    assert [rates.at(at_epoch(epoch)) for epoch in range(60)] == pytest.approx(np.concatenate(higher), rel=1e-12)


def test_a_power_falls_from_its_start() -> None:
    schedule = PowerDecay(unit="micro_step", start=0.3, power=0.5)
    assert [schedule.at(at_step(step)) for step in (0, 3, 99)] == pytest.approx([0.3, 0.15, 0.03])


@pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda schedule: schedule.kind)
def test_no_value_lies_above_the_peak(schedule: Schedule) -> None:
    values = [schedule.at(Progress(step, step, step / 10, step / 300)) for step in range(300)]
    assert max(values) <= peak_of(schedule) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("tag", "counts"),
    [
        ("dynaccgrad_v2", {0: 1, 24_999: 50, 49_999: 100, 99_999: 1, 10**6: 1, 1_241_999: 10, 2 * 10**6: 10}),
        ("dynaccgrad_v3", {0: 4, 20_000: 4, 59_999: 3, 99_999: 2, 10**6: 1}),
        ("dynaccgrad_v3a", {443_000: 4, 664_999: 3, 886_999: 2, 985_999: 1}),
        ("dynaccgrad_v4", {0: 4, 442_999: 1, 664_999: 2, 886_999: 4, 985_999: 12}),
    ],
)
def test_accumulation_follows_its_published_schedules(tag: str, counts: dict[int, int]) -> None:
    accumulate = resolve(f"24gb-v6-{tag}").train.accumulate
    assert {step: round(value_at(accumulate, at_step(step))) for step in counts} == counts


def test_steps_change_at_their_nodes() -> None:
    schedule = Steps(nodes=(5, 10), values=(1.0, 2.0, 3.0))
    assert [schedule.at(at_step(step)) for step in (0, 4, 5, 9, 10)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PiecewiseLinear(nodes=(10, 10), values=(0.0, 1.0)), "must increase"),
        (lambda: PiecewiseLinear(nodes=(10,), values=(0.0, 1.0, 2.0)), "as many values as nodes"),
        (lambda: PiecewiseLinear(nodes=(), values=(1.0,)), "as many values as nodes"),
        (lambda: PiecewiseLinear(nodes=(0, 5), values=(1.0, 2.0, 3.0)), "behind 0"),
        (lambda: Steps(nodes=(5,), values=(1.0,)), "one value more"),
        (lambda: Steps(nodes=(5, 4), values=(1.0, 2.0, 3.0)), "must increase"),
        (lambda: WarmupInverseSqrt(peak=0.0, warmup=1, norm=1), "greater than 0"),
        (lambda: ByEpoch(start=1.0, legs=()), "at least 1"),
    ],
)
def test_impossible_schedules_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()  # type: ignore[operator]
