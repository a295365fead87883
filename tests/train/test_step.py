"""Micro-steps and updates: accumulation, learning rate, clipping, precision, and what happens to non-finite ones."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch

from aedo.data.batch import Batch
from aedo.features.logmel import Features
from aedo.features.normalize import RunningNormConfig
from aedo.model.aed import AED
from aedo.nn.positions import TransformerXLPositionsConfig
from aedo.schedule import Progress
from aedo.train.position import Position
from aedo.train.statistics import Tally
from aedo.train.step import Step
from tests.train.micro import micro_experiment

CPU = torch.device("cpu")
VOCABULARY = 9


def batch(seed: int, size: int = 2) -> Batch:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([16000 - 1000 * i for i in range(size)])
    audio = torch.rand(size, 16000, generator=random) - 0.5
    labels = torch.randint(1, VOCABULARY, (size, 3), generator=random)
    return Batch(tuple(f"utterance-{seed}-{i}" for i in range(size)), audio, lengths, labels, torch.full((size,), 3))


def step_of(**train: Any) -> Step:
    experiment = micro_experiment(**train)
    torch.manual_seed(0)
    model = experiment.build_model(VOCABULARY)
    objective = experiment.loss.build(experiment.ctc)
    optimizer = experiment.train.optimizer.build(model)
    return Step(model, objective, optimizer, experiment.augment.build(), experiment.train, CPU)


def at(micro_step: int) -> Progress:
    return Progress(micro_step, 0, 0.0, 0.0)


def total(step: Step, micro_step: int) -> float:
    return float(step.micro_step(batch(0), at(micro_step)).total.detach())


def weights(model: AED) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_gradients_of_the_micro_steps_of_an_update_are_summed() -> None:
    together, alone = step_of(), [step_of(), step_of()]
    for number in (0, 1):
        together.micro_step(batch(number), at(number))
        alone[number].micro_step(batch(number), at(number))
    for both, first, second in zip(together.parameters, alone[0].parameters, alone[1].parameters):
        assert both.grad is not None
        assert first.grad is not None
        assert second.grad is not None
        torch.testing.assert_close(both.grad, first.grad + second.grad)


def test_an_update_is_due_after_as_many_micro_steps_as_the_schedule_says_at_the_last_one() -> None:
    step = step_of(accumulate={"kind": "steps", "nodes": (2,), "values": (2, 3)})
    due = []
    for number in range(7):
        step.micro_step(batch(number), at(number))
        due.append(step.update_due(at(number)))
        if due[-1]:
            step.update(at(number))
    assert due == [False, True, False, False, True, False, False]


def test_learning_rate_is_that_of_the_last_micro_step_counted_from_zero() -> None:
    step = step_of(learning_rate={"kind": "warmup_inverse_sqrt", "peak": 1.0, "warmup": 10, "norm": 10})
    for number in (0, 1):
        step.micro_step(batch(number), at(number))
    assert step.update(at(1)).learning_rate == pytest.approx(0.2)  # the schedule adds the one itself
    assert [group["lr"] for group in step.optimizer.param_groups] == pytest.approx([0.2, 0.2])


def test_clipping_bounds_the_global_norm_and_reports_the_one_before() -> None:
    step = step_of(gradients={"clip_norm": 0.5})
    step.micro_step(batch(0), at(0))
    before = torch.stack([p.grad.norm() for p in step.parameters if p.grad is not None]).norm()
    norm = step.gradients(step.parameters, at(0))
    after = torch.stack([p.grad.norm() for p in step.parameters if p.grad is not None]).norm()
    assert norm == pytest.approx(before.item(), rel=1e-5)
    assert after == pytest.approx(0.5, rel=1e-4)


def test_random_numbers_depend_on_the_seed_and_the_micro_step_alone() -> None:
    first, later = step_of(), step_of()
    torch.rand(100)
    expected = total(first, 7)
    assert total(later, 7) == expected
    assert total(first, 8) != expected
    assert total(step_of(seed=2), 7) != expected


def test_a_state_between_two_updates_goes_on_bit_for_bit() -> None:
    straight = step_of()
    for number in range(3):
        straight.micro_step(batch(number), at(number))
        if straight.update_due(at(number)):
            straight.update(at(number))
    resumed = step_of(seed=1)
    resumed.model.load_state_dict(weights(straight.model))
    resumed.load_state(copy.deepcopy(straight.state()))
    for step in (straight, resumed):
        step.micro_step(batch(3), at(3))
        assert step.update(at(3)).applied
    assert same(straight.model.state_dict(), resumed.model.state_dict())


def test_a_loss_that_is_not_finite_skips_the_update_names_its_utterances_and_harms_nothing() -> None:
    step = step_of()
    before = weights(step.model)
    bad = batch(1)
    bad.audio[0] = float("nan")
    tally = Tally(finite_only=True)
    for number, each in enumerate((batch(0), bad)):
        tally.add(step.micro_step(each, at(number)))
    update = step.update(at(1))
    assert not update.applied
    assert update.bad == (bad.ids,)
    assert same(step.model.state_dict(), before), "weights and running statistics are as before"
    assert not step.pending
    assert all(torch.isfinite(torch.tensor(list(tally.means().values()))))
    for number in (2, 3):
        step.micro_step(batch(number), at(number))
    assert step.update(at(3)).applied
    assert all(value.isfinite().all() for value in step.model.state_dict().values())


def test_a_gradient_that_is_not_finite_skips_the_update_and_names_all_its_utterances() -> None:
    step = step_of(accumulate=1)
    step.micro_step(batch(0), at(0))
    next(p for p in step.parameters if p.grad is not None).grad.view(-1)[0] = float("inf")  # type: ignore[union-attr]
    update = step.update(at(0))
    assert update.bad == (batch(0).ids,)
    assert not step.optimizer.state


def test_bfloat16_runs_the_model_only_and_keeps_parameters_losses_and_features_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aedo.train.precision.emulates_bfloat16", lambda device: False)
    step = step_of(precision="bfloat16", accumulate=1)
    seen: dict[str, torch.dtype] = {}

    def augment(features: Features, progress: Progress) -> Features:
        seen["features"] = features.values.dtype
        return features

    monkeypatch.setattr(step, "augment", augment)
    step.model.encoder.layers[0].ff1.register_forward_hook(lambda *call: seen.update(layer=call[2].dtype))
    losses = step.micro_step(batch(0), at(0))
    (mixed,) = step.update(at(0)).totals
    assert seen == {"features": torch.float32, "layer": torch.bfloat16}
    assert losses.total.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in step.parameters)
    single = step_of(accumulate=1)
    monkeypatch.setattr(single, "augment", augment)
    assert mixed == pytest.approx(total(single, 0), rel=0.05)


def test_position_counts_micro_steps_updates_and_the_part_of_the_sub_epoch() -> None:
    position = Position().after_batch().after_update().after_batch()
    assert position.progress(4, 10) == Progress(2, 1, 0.5, 0.05)
    later = position.next_epoch().after_batch()
    assert later.epoch_start(10) == Progress(2, 1, 1.0, 0.1)
    assert later.progress(2, 10) == Progress(3, 1, 1.5, 0.15)
    assert Position(**later.state()) == later


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"encoder.attention.position.dropout": 0.1, "encoder.dropout.share": "none", "encoder.attention.window": 5},
        {"encoder.attention.dropout_share": "all_but_keys", "encoder.chunk": 4, "ctc.eos": True},
        {"encoder.attention.position": TransformerXLPositionsConfig(), "frontend.padding": "batch"},
        {"ctc.label_smoothing": 0.1, "loss.normalization": "accumulated", "features.normalize": RunningNormConfig()},
        {"encoder.streaming": {"kept": 3, "look_ahead": 2}, "decoder.weight_feedback": False},
    ],
    ids=["default", "masks per element", "chunks", "transformer-xl", "smoothed", "streaming"],
)
def test_a_micro_step_never_waits_for_the_device(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, which has shapes but no values: whatever read one back would raise.

    CTC, which has no version for this device, and autocast, which knows it not, are replaced.
    """
    monkeypatch.setattr(torch, "autocast", lambda *args, **settings: contextlib.nullcontext())
    monkeypatch.setattr(torch.nn.functional, "ctc_loss", lambda log_probs, *args, **settings: log_probs.sum((0, 2)))
    experiment, device = micro_experiment(), torch.device("meta")
    for path, value in changes.items():
        experiment = experiment.with_(path, value)
    model = experiment.build_model(VOCABULARY).to(device)
    optimizer = experiment.train.optimizer.build(model)
    step = Step(
        model, experiment.loss.build(experiment.ctc), optimizer, experiment.augment.build(), experiment.train, device
    )
    tally = Tally(finite_only=True)
    tally.add(step.micro_step(batch(0), at(10_000)))
    assert tally.values is not None
    assert tally.values.is_meta
    assert all(parameter.grad is not None for parameter in step.parameters)
    assert step.gradients(step.parameters, at(10_000)).is_meta
    with pytest.raises(NotImplementedError):
        step.update(at(10_000))  # reads the norm: the one wait of an update, and proof that a wait is noticed here
