"""All parts of augmentation together, inside the training step."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch

from aedo.augment.mixup import MixupConfig
from aedo.augment.resize import FrameDropConfig, ResizeConfig
from aedo.augment.timewarp import CentreWarpConfig, FlowWarpConfig
from aedo.experiment import AugmentConfig, Experiment
from aedo.features.logmel import Features
from aedo.features.normalize import GlobalNormConfig, RunningNormConfig, UtteranceNormConfig
from aedo.recipes.names import resolve
from aedo.schedule import START
from aedo.train.step import Step
from tests.train.micro import micro_experiment
from tests.train.test_step import VOCABULARY, at, batch, same, weights

EVERYTHING: dict[str, Any] = {
    "mixup": MixupConfig(buffer_frames=150),
    "resize": ResizeConfig(low=0.9, high=1.2),
    "frame_drop": FrameDropConfig(rate=0.1),
    "time_warp": CentreWarpConfig(),
}


def everything(**more: Any) -> Experiment:
    experiment = micro_experiment()
    for name, part in {**EVERYTHING, **more}.items():
        experiment = experiment.with_(f"augment.{name}", part)
    return experiment


def step_of(experiment: Experiment, device: str = "cpu", seed: int = 0) -> Step:
    torch.manual_seed(seed)
    model = experiment.build_model(VOCABULARY).to(device)
    objective, optimizer = experiment.loss.build(experiment.ctc), experiment.train.optimizer.build(model)
    return Step(model, objective, optimizer, experiment.augment.build(), experiment.train, torch.device(device))


def test_parts_are_applied_in_the_order_of_the_tree() -> None:
    order = ("mixup", "resize", "frame_drop", "time_warp", "specaugment")
    assert tuple(everything().augment.build().parts) == order
    assert tuple(AugmentConfig().build().parts) == ("specaugment",)
    assert AugmentConfig().build().state() == {}


def test_without_parts_features_are_themselves() -> None:
    features = Features(torch.randn(1, 5, 3), torch.tensor([5]))
    pipeline = AugmentConfig(specaugment=None).build()
    assert pipeline(features, START) is features


@pytest.mark.parametrize("normalize", [None, UtteranceNormConfig(), RunningNormConfig()])
def test_a_training_with_everything_goes_on_bit_for_bit(normalize: Any) -> None:
    experiment = everything().with_("features.normalize", normalize)
    straight = step_of(experiment)
    for number in range(5):
        straight.micro_step(batch(number), at(number))
        if straight.update_due(at(number)):
            straight.update(at(number))
    resumed = step_of(experiment, seed=1)
    resumed.model.load_state_dict(weights(straight.model))
    resumed.load_state(copy.deepcopy(straight.state()))
    for number in (5, 6, 7):
        losses = [step.micro_step(batch(number), at(number)).total.detach() for step in (straight, resumed)]
        assert torch.equal(*losses)
        if straight.update_due(at(number)):
            assert straight.update(at(number)).applied
            assert resumed.update(at(number)).applied
    assert same(straight.model.state_dict(), resumed.model.state_dict())


def test_labels_that_do_not_fit_a_shortened_utterance_leave_the_loss_finite() -> None:
    experiment = micro_experiment().with_("augment.resize", ResizeConfig(low=0.05, high=0.051))
    step = step_of(experiment)
    for number in range(2):
        assert step.micro_step(batch(number), at(number)).total.isfinite()
    assert step.update(at(1)).applied


@pytest.mark.parametrize("warp", [CentreWarpConfig(), FlowWarpConfig(std=3.0)])
@pytest.mark.parametrize("normalize", [UtteranceNormConfig(), GlobalNormConfig(), RunningNormConfig()])
def test_nothing_waits_for_the_device(warp: Any, normalize: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, which has shapes but no values: whatever read one back would raise."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **settings: contextlib.nullcontext())
    monkeypatch.setattr(torch.nn.functional, "ctc_loss", lambda log_probs, *args, **settings: log_probs.sum((0, 2)))
    step = step_of(everything(time_warp=warp).with_("features.normalize", normalize), "meta")
    for number in range(3):
        assert step.micro_step(batch(number), at(number)).total.is_meta


TAGS = (
    "tiny-mixup",
    "tiny-rndresize09_12",
    "tiny-rndresize08_12-rndresizeguard250",
    "tiny-rndframedrop01",
    "tiny-twarp",
    "tiny-twarp40",
    "tiny-oldtwarp",
    "tiny-specaugweia",
    "tiny-specaugespnet",
    "24gb-v6-specauglen-specaugv2",
    "tiny-nospecaug-mixup-rndresize09_12-rndframedrop01-twarp",
)


@pytest.mark.parametrize("name", TAGS)
def test_every_tag_changes_features_and_keeps_what_the_model_relies_on(name: str) -> None:
    torch.manual_seed(0)
    pipeline, lengths = resolve(name).augment.build(), torch.tensor([300, 120, 11, 1])
    for number in range(3):
        values = torch.randn(4, 300, 80)
        before = values.clone()
        features = pipeline(Features(values, lengths), at(200_000 + number))
        assert torch.equal(values, before), "what came in may still be used elsewhere"
        assert features.values.dtype == torch.float32
        assert features.values.isfinite().all()
        assert features.lengths.device.type == "cpu"
        assert features.values.shape[1] == features.lengths.max()
        assert (features.lengths >= 1).all()
    assert features.values.shape != before.shape or not torch.equal(features.values, before)
