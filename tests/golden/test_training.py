"""Two sub-epochs of training, equal to the reference engine's: losses, learning rates, gradient norms, parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aedo.data.batch import Batch
from aedo.experiment import Experiment
from aedo.interop.returnn import foreign_name
from aedo.model.aed import AED
from aedo.schedule import WarmupInverseSqrt
from aedo.train.config import TrainConfig
from aedo.train.gradients import GradientConfig
from aedo.train.optimizers import OptimizerConfig
from aedo.train.param_groups import WeightDecayConfig
from aedo.train.position import Position
from aedo.train.statistics import Tally
from aedo.train.step import Step, Update, forward
from tests.golden.models import loaded

DATA = Path(__file__).parent / "data" / "train-engine"
LOG: dict[str, Any] = json.loads((DATA / "log.json").read_text())
CPU = torch.device("cpu")


def experiment_without_noise() -> Experiment:
    """The engine's settings: nothing random, or two runs could not be compared."""
    off = loaded("base")[0]
    for path in (
        "encoder.dropout.rate",
        "encoder.attention.dropout",
        "encoder.attention.position.dropout",
        "decoder.readout_dropout.rate",
        "decoder.zone_cell",
        "decoder.zone_hidden",
    ):
        off = off.with_(path, 0.0)
    decay = WeightDecayConfig(value=0.01, exclude=("embedding", "relative_position"))
    train = TrainConfig(
        epochs=2,
        accumulate=2,
        learning_rate=WarmupInverseSqrt(peak=2e-3, warmup=6, norm=6),
        optimizer=OptimizerConfig(eps=1e-16, weight_decay=decay),
        gradients=GradientConfig(clip_norm=1.0),
    )
    return off.with_("augment.specaugment", None).with_("train", train)


def batches(count: int, size: int = 3) -> list[Batch]:
    """The first `count` utterances, in their order."""
    with np.load(DATA / "inputs.npz") as inputs:
        lengths, label_lengths = inputs["audio_len"], inputs["targets_len"] - 1  # the reference counts EOS
        audio = np.split(inputs["samples"], np.cumsum(lengths)[:-1])
        labels = [row[:n] for row, n in zip(inputs["targets"], label_lengths)]

    def padded(rows: list[np.ndarray]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)

    return [
        Batch(
            tuple(str(i) for i in range(start, min(start + size, count))),
            padded(audio[start : min(start + size, count)]),
            torch.from_numpy(lengths[start : min(start + size, count)].astype(np.int64)),
            padded(labels[start : min(start + size, count)]).long(),
            torch.from_numpy(label_lengths[start : min(start + size, count)].astype(np.int64)),
        )
        for start in range(0, count, size)
    ]


class Trained:
    """What two sub-epochs of our step gave."""

    def __init__(self) -> None:
        experiment = experiment_without_noise()
        self.model: AED = experiment.build_model(40)
        self.model.load_state_dict(loaded("base")[1].state_dict())
        objective = experiment.loss.build(experiment.ctc)
        optimizer = experiment.train.optimizer.build(self.model)
        step = Step(self.model, objective, optimizer, experiment.augment.build(), experiment.train, CPU)
        self.micro_steps: list[dict[str, float]] = []
        self.updates: list[tuple[int, Update]] = []
        self.means: list[dict[str, float]] = []
        position = Position()
        for _ in range(2):
            train, dev = Tally(finite_only=True), Tally(finite_only=False)
            epoch = batches(13)
            for batch in epoch:
                progress = position.progress(len(epoch), 2)
                losses = step.micro_step(batch, progress)
                train.add(losses)
                terms = {term.name: float(term.sum) / term.count for term in losses.terms}
                self.micro_steps.append({**terms, "total": float(losses.total.detach())})
                if step.update_due(progress):
                    self.updates.append((progress.micro_step, step.update(progress)))
                    position = position.after_update()
                position = position.after_batch()
            step.drop()
            self.model.eval()
            with torch.no_grad():
                for batch in batches(4):
                    dev.add(forward(self.model, objective, batch, progress, experiment.train, CPU))
            means = {"train": train.means(), "dev": dev.means()}
            self.means.append({f"{part}_{term}": v for part, values in means.items() for term, v in values.items()})
            position = position.next_epoch()


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    """On one thread: with more, sums round otherwise, and the parameters that only noise moves go another way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Trained()
    torch.set_num_threads(threads)


def test_losses_of_every_micro_step(trained: Trained) -> None:
    expected = [entry for entry in LOG["micro_log"] if entry["train_flag"]]
    assert len(trained.micro_steps) == len(expected)
    for ours, theirs in zip(trained.micro_steps, expected):
        assert ours["total"] == pytest.approx(theirs["total"], rel=1e-5)
        for name, value in theirs["losses"].items():
            assert ours["ler" if name == "fer" else name] == pytest.approx(value, rel=2e-5), (theirs["step"], name)


def test_learning_rate_and_gradient_norm_of_every_update(trained: Trained) -> None:
    assert len(trained.updates) == len(LOG["update_log"])
    for (micro_step, ours), theirs in zip(trained.updates, LOG["update_log"]):
        assert micro_step == theirs["global_train_step"]
        assert ours.learning_rate == pytest.approx(theirs["lr"], rel=1e-12)
        assert ours.grad_norm == pytest.approx(theirs["grad_norm_before_clip"], rel=1e-5)


def test_means_of_a_sub_epoch_are_weighted_by_labels(trained: Trained) -> None:
    """Dev values are looser: the bias in front of a BatchNorm moves by noise, and its running mean follows late."""
    for ours, epoch in zip(trained.means, ("1", "2")):
        for name, value in LOG["epoch_means"][epoch].items():
            assert ours[name] == pytest.approx(value, rel=1e-5 if name.startswith("train") else 2e-3), (epoch, name)


def test_parameters_after_two_sub_epochs(trained: Trained) -> None:
    """Every k-th value of each tensor; what the reference's own noise moves by more than 1e-4 says nothing."""
    compared = 0
    with np.load(DATA / "final.npz") as final:
        for name, value in trained.model.state_dict().items():
            theirs, transform = foreign_name(name, trained.model)
            if LOG["noise_floor"].get(theirs, 0.0) > 1e-4:
                continue
            ours = transform(value).flatten()[:: max(1, value.numel() // 256)].numpy()
            np.testing.assert_allclose(ours, final[theirs], rtol=0, atol=2e-5, err_msg=theirs)
            compared += 1
    assert compared >= 110
