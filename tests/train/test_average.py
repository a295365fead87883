"""Averages of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder
from aedo.train.average import average_best, average_fraction, average_last
from aedo.train.checkpoint import epoch_label, write_checkpoint
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
