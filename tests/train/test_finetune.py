"""Fine-tuning: learning rates in closed form, and where they begin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from aedo.errors import UserError
from aedo.recipes.names import resolve
from aedo.run import Checkpoint, RunFolder, read_jsonl
from aedo.schedule import AnySchedule, Progress
from aedo.train import start
from aedo.train.checkpoint import write_checkpoint
from aedo.train.finetune import FineTuneConfig
from aedo.train.origin import Origin, adopted
from aedo.train.step import Step
from aedo.train.trainer import Settings
from tests.train.micro import micro_experiment, write_data

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data" / "schedules.json").read_text())["schedules"]


def at_epoch(epoch: float) -> Progress:
    return Progress(0, 0, epoch, 0.0)


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("24gb-v3-lr1e_3-finetune50", "finetune_geomspace_50"),
        ("24gb-v3-lr1e_3-finetune50-ftlin", "finetune_linspace_50"),
        ("24gb-v3-lr1e_3-finetune150_50", "finetune_L3_5_150_L7_50"),
        ("24gb-v3-lr1e_3-finetune180_20-ftfinal1e_6", "finetune_L3_5_180_L6_20"),
    ],
)
def test_learning_rates_are_those_of_the_original(name: str, golden: str) -> None:
    experiment, reference = resolve(name), GOLDEN[golden]
    schedule = experiment.train.rates()
    for epoch, expected in zip(reference["at"], reference["lr"], strict=True):
        if epoch <= experiment.train.epochs:
            assert schedule.at(at_epoch(epoch - 1.0)) == pytest.approx(expected, rel=1e-9)


def rates(**fields: Any) -> AnySchedule:
    return FineTuneConfig(**fields).schedule(resolve("24gb-v6").train.learning_rate, 200)


def test_it_begins_at_the_peak_of_the_experiments_own_schedule() -> None:
    for name, peak in (("24gb-v6", 1e-3), ("24gb-v6-lrlin2e_5", 2e-3), ("24gb-v2", 2e-3), ("tiny", 2e-3)):
        experiment = resolve(f"{name}-finetune7")
        assert experiment.train.epochs == 7
        assert experiment.train.rates().at(at_epoch(0)) == pytest.approx(peak)
        assert experiment.train.rates().at(at_epoch(6.5)) == pytest.approx(1e-7)


def test_it_stands_behind_the_name_of_the_training_before() -> None:
    before = "24gb-v6-bs15k-lrlin1e_5_295k-specaugweia-pretrain"
    experiment = resolve(f"{before}-finetune30")
    assert (experiment.train.epochs, experiment.encoder.growth) == (30, ())
    assert experiment.augment.specaugment is not None
    assert experiment.augment.specaugment.steps == (0, 0, 0)
    assert experiment.train.rates().at(at_epoch(0)) == pytest.approx(1e-3)


def test_a_published_retraining_holds_its_rate_and_then_falls_in_a_line() -> None:
    schedule = resolve("24gb-v6-finetune600-ftfrom1e_4-fthold20-ftlin-ftfinal1e_6").train.rates()
    assert {schedule.at(at_epoch(epoch)) for epoch in range(21)} == {1e-4}
    assert schedule.at(at_epoch(20 + 579 / 3)) == pytest.approx(1e-4 - 99e-6 / 3)
    assert schedule.at(at_epoch(599)) == 1e-6


def test_by_step_it_changes_within_sub_epochs_and_arrives_at_the_end() -> None:
    schedule = rates(by="step", start=1e-3, final=1e-7)
    assert [schedule.at(at_epoch(epoch)) for epoch in (0, 50.5, 100, 200)] == pytest.approx(
        [1e-3, 1e-3 * 1e-4 ** (50.5 / 200), 1e-5, 1e-7]
    )
    assert rates(by="epoch", start=1e-3).at(at_epoch(50.5)) == rates(by="epoch", start=1e-3).at(at_epoch(50))
    two = rates(by="step", start=1e-3, turn_epochs=150, turn=1e-5, spacing="linear", hold=10)
    assert [two.at(at_epoch(epoch)) for epoch in (5.5, 85, 160, 180, 200)] == pytest.approx(
        [1e-3, (1e-3 + 1e-5) / 2, 1e-5, (1e-5 + 1e-7) / 2, 1e-7]
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("24gb-v6-ftlin", "nothing is fine-tuned; name finetune200 too"),
        ("24gb-v6-finetune200-ftgeo", "changes nothing"),
        ("24gb-v6-finetune200-pre10", "both set encoder.growth"),
        ("24gb-v6-finetune20-fthold20", "leave nothing of a training of 20 sub-epochs"),
        ("24gb-v6-finetune200-ftturn1e_6", "write finetune150_50 for two"),
        ("24gb-v6-warmup100k-finetune200", "nothing uses train.learning_rate.warmup, train.finetune has"),
        ("24gb-v6-lr5e_4-finetune200-ftfrom1e_4", "nothing uses train.learning_rate.peak"),
        ("24gb-v6-finetune200-ftfrom1e_4-ftfromlast", "both set train.finetune.start"),
    ],
)
def test_what_does_not_fit_together_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(name)


def micro(**finetune: Any) -> Any:
    return micro_experiment(epochs=2, average_fraction=0.0, finetune=finetune)


def test_fine_tuning_without_a_run_to_begin_from_says_how_to_give_one(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=2, dev=1)
    with pytest.raises(UserError, match=r"micro: fine-tuning begins from .* give --from RUN .* leave the finetune tag"):
        start.train("micro", micro(), data, tmp_path, torch.device("cpu"), Settings())
    assert not list(tmp_path.glob("micro-*"))
    with pytest.raises(UserError, match="give --from RUN"):
        micro(start="origin").train.rates()
    plain = micro_experiment()
    assert adopted("micro", plain, None) is plain


def test_the_last_rate_is_that_of_the_checkpoints_sub_epoch_or_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "origin")
    run.path.mkdir()
    run.create("micro", micro_experiment(), {"vocabulary": 9})

    for epoch in (1, 2, 3):
        label = f"epoch-000{epoch}"
        model = micro_experiment().build_model(9)
        write_checkpoint(Checkpoint(run.checkpoint_folder / label, label, epoch, 5, 2), model, None)
    (run.path / "log.jsonl").write_text('{"epoch": 1, "lr": 0.5}\n{"epoch": 2, "lr": 0.25}\n')
    for label, rate in (("epoch-0001", 0.5), ("epoch-0002", 0.25)):
        found = Origin.parse(f"{run.path}@{label}").adopt(micro(start="origin"))
        assert found.train.finetune == FineTuneConfig(start=rate)
    with pytest.raises(UserError, match=r"log.jsonl: tells no learning rate of sub-epoch 3.*leave ftfromlast out"):
        Origin.parse(str(run.path)).adopt(micro(start="origin"))
    assert Origin.parse(str(run.path)).adopt(micro()).train.finetune == FineTuneConfig()


class Killed(BaseException):
    """In the place of a signal."""


def test_a_killed_fine_tuning_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path / "data")
    cpu, settings = torch.device("cpu"), Settings(log_every=1, save_minutes=1e-9)
    first, _ = start.train(
        "micro", micro_experiment(epochs=1, average_fraction=0.0), data, tmp_path / "first", cpu, settings
    )
    origin = Origin.parse(str(first.path))
    experiment = micro(start="origin", final=1e-5, by="step")

    def train(out: Path) -> RunFolder:
        return start.train("micro", experiment, data, out, cpu, settings, origin=origin)[0]

    straight = train(tmp_path / "straight")
    lines = read_jsonl(straight.path / "steps.jsonl")
    # Three batches a sub-epoch, the second of which makes an update; the origin ended at 1e-3.
    assert [line["lr"] for line in lines] == pytest.approx([1e-3 * 0.01 ** (1 / 6), 1e-3 * 0.01 ** (4 / 6)])
    assert straight.experiment().train.finetune == FineTuneConfig(start=1e-3, final=1e-5, by="step")

    update, calls = Step.update, 0

    def killed(step: Step, progress: Progress) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return update(step, progress)

    monkeypatch.setattr(Step, "update", killed)
    with pytest.raises(Killed):
        train(tmp_path / "killed")
    monkeypatch.undo()
    again = train(tmp_path / "killed")
    assert again.path.name == straight.path.name
    assert again.checkpoint("last").weights.read_bytes() == straight.checkpoint("last").weights.read_bytes()
    assert read_jsonl(again.path / "steps.jsonl") == lines
