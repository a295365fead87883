"""Averages of checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder
from aedo.search.choose import preferred
from aedo.train.average import average_at_end, average_best, average_fraction, average_last
from aedo.train.checkpoint import epoch_label, write_checkpoint
from aedo.train.config import TrainConfig
from tests.train.micro import NAME, micro_experiment

CE = {1: 5.0, 2: 1.0, 3: 4.0, 4: 2.0}
LER = {1: 0.1, 2: 0.9, 3: 0.9, 4: 0.9}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Four epochs whose weights are their numbers, squared in the running statistics."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.create(NAME, micro_experiment(epochs=8), {"vocabulary": 9})
    for epoch in CE:
        weights = {
            "layer.weight": torch.full((2, 3), float(epoch)),
            "norm.running_var": torch.full((2,), float(epoch**2)),
            "steps": torch.tensor(epoch),
            "half": torch.full((1,), float(epoch), dtype=torch.bfloat16),
        }
        scores = {"dev_ce": CE[epoch], "dev_ler": LER[epoch]}
        folder = run.checkpoint_folder / epoch_label(epoch)
        write_checkpoint(Checkpoint(folder, folder.name, epoch, 10 * epoch, 5 * epoch, scores), weights, None)
    return run


def mean_of(checkpoint: Checkpoint) -> float:
    return load_file(checkpoint.weights)["layer.weight"].mean().item()


def test_mean_includes_running_statistics_and_copies_integers(run: RunFolder) -> None:
    average = average_last(run, 2)
    weights = load_file(average.weights)
    assert weights["layer.weight"].eq(3.5).all()
    assert weights["norm.running_var"].eq(12.5).all()
    assert weights["steps"].item() == 4
    assert weights["half"].dtype == torch.bfloat16
    assert (average.label, average.epoch, average.averaged) == ("average-last2", 4, ["epoch-0003", "epoch-0004"])
    assert run.checkpoint("average-last2") == average
    assert not average.state.exists()


def test_best_go_by_the_dev_value_asked_for(run: RunFolder) -> None:
    assert average_best(run, 2, "dev_ce").averaged == ["epoch-0002", "epoch-0004"]
    by_ler = average_best(run, 1, "dev_ler")
    assert (by_ler.label, by_ler.averaged) == ("average-best1-dev_ler", ["epoch-0001"])


def test_last_part_counts_from_the_whole_length_of_the_training(run: RunFolder) -> None:
    assert average_fraction(run, 0.7).averaged == ["epoch-0003", "epoch-0004"]  # of 8: those after 2.4
    assert average_fraction(run, 0.1).label == "average-last10pct"


def test_an_average_that_is_there_is_not_made_twice_but_an_outdated_one_is(run: RunFolder) -> None:
    written = average_last(run, 2).weights.stat().st_mtime_ns
    assert average_last(run, 2).weights.stat().st_mtime_ns == written
    weights = {name: value + 10 for name, value in load_file(run.checkpoint("last").weights).items()}
    write_checkpoint(Checkpoint(run.checkpoint_folder / "epoch-0005", "epoch-0005", 5, 50, 25), weights, None)
    assert mean_of(average_last(run, 2)) == pytest.approx((4 + 14) / 2)


def test_asking_for_more_than_there_is_says_what_there_is(run: RunFolder) -> None:
    with pytest.raises(UserError, match="9 checkpoints of epochs asked for, 4 there"):
        average_last(run, 9)
    with pytest.raises(UserError, match="no checkpoint has a value 'dev_wer'; there are: dev_ce, dev_ler"):
        average_best(run, 2, "dev_wer")


def test_checkpoints_of_different_models_are_not_averaged(run: RunFolder) -> None:
    write_checkpoint(
        Checkpoint(run.checkpoint_folder / "epoch-0005", "epoch-0005", 5, 50, 25), {"other": torch.zeros(1)}, None
    )
    with pytest.raises(UserError, match=r"not weights of this experiment: missing .*; unknown other"):
        average_last(run, 2)


def test_a_finished_training_makes_the_averages_it_wants(run: RunFolder) -> None:
    config = run.experiment().train
    assert config.average_fraction == 0.5
    (only,) = average_at_end(run, config, None)
    assert only.label == "average-last50pct"
    wanting = TrainConfig(epochs=8, average_fraction=0.5, average_last=3, average_best=2)
    moving = {"layer.weight": torch.full((2, 3), 7.0)}
    made = average_at_end(run, wanting, moving)
    assert [each.label for each in made] == ["average-last50pct", "average-last3", "average-best2", "ema"]
    assert [mean_of(each) for each in made] == [4, 3, 3, 7]
    assert made[1].averaged == ["epoch-0002", "epoch-0003", "epoch-0004"]
    assert made[2].averaged == ["epoch-0002", "epoch-0004"]
    assert run.checkpoint("ema") == made[3]
    assert (made[3].epoch, made[3].micro_step, made[3].averaged) == (4, 40, ["epoch-0004"])
    assert run.checkpoint("last").label == "epoch-0004"
    assert preferred(run).label == "average-last50pct"
    written = made[3].weights.stat().st_mtime_ns
    assert average_at_end(run, wanting, moving)[3].weights.stat().st_mtime_ns == written


def test_without_decoder_the_best_are_those_by_the_first_dev_value(run: RunFolder) -> None:
    assert run.best_key() == "dev_ce"
    for checkpoint in run.checkpoints():
        scores = {"dev_ctc_8": 1.0, "dev_ctc_4": float(checkpoint.epoch)}
        write_checkpoint(replace(checkpoint, scores=scores), load_file(checkpoint.weights), None)
    assert run.best_key() == "dev_ctc_4"
    wanting = TrainConfig(epochs=8, average_fraction=0, average_best=2)
    (best,) = average_at_end(run, wanting, None)
    assert (best.label, best.averaged) == ("average-best2-dev_ctc_4", ["epoch-0001", "epoch-0002"])


@pytest.mark.parametrize("fields", [{"average_best": 5}, {"average_last": 6}, {"average_last": 3, "epochs": 2}])
def test_averages_of_more_than_is_kept_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="needs as many sub-epochs, all of them kept"):
        TrainConfig.model_validate(fields)
