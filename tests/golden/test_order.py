"""Orders and batches equal those of the original system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aedo.data.batch import Candidates, fill_batches
from aedo.data.order import OrderConfig, epoch_order, laplace, longest_first, part_bounds

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "laplace.json").read_text())["cases"]
EPOCHS = [
    pytest.param(case, epoch, id=f"{case['name']}-epoch{epoch['epoch']}") for case in CASES for epoch in case["epochs"]
]


def ours(case: dict[str, Any], epoch: dict[str, Any]) -> np.ndarray:
    """The order from our pieces, with the seed the case names: some orders of the original have no option of ours."""
    lengths = np.array(case["lens"])
    kind, *options = case["seq_ordering"].split(":")
    shuffled = np.random.RandomState(epoch["seed"]).permutation(len(lengths))
    if kind == "laplace":
        bins = max(len(lengths) // int(options[0][1:]), 2) if options[0].startswith(".") else int(options[0])
        whole = laplace(shuffled, lengths, bins)
    else:
        whole = {"random": shuffled, "sorted_reverse": longest_first(lengths)}[kind]
    parts = case["partition_epoch"]
    start, end = part_bounds(len(lengths), parts, (epoch["epoch"] - 1) % parts)
    return whole[start:end]


@pytest.mark.parametrize(("case", "epoch"), EPOCHS)
def test_orders_equal_the_reference(case: dict[str, Any], epoch: dict[str, Any]) -> None:
    assert ours(case, epoch).tolist() == epoch["order"]


@pytest.mark.parametrize(("case", "epoch"), EPOCHS)
def test_batches_equal_the_reference(case: dict[str, Any], epoch: dict[str, Any]) -> None:
    order = ours(case, epoch)
    most = case["max_seq_length_targets"]
    targets = np.array(case["target_lens"])[order]
    left_out = np.zeros(len(order), bool) if most is None else targets > most
    lengths = np.array(case["lens"])[order]
    planned = fill_batches(
        Candidates(order, np.full_like(order, 16000), lengths, lengths, targets),
        left_out,
        max_samples=case["batch_size"],
        max_utterances=case["max_seqs"],
    )
    assert [batch.utterances.tolist() for batch in planned] == epoch["batches"]
    assert sorted(i for batch in planned for i in batch.left_out.tolist()) == sorted(order[left_out].tolist())


@pytest.mark.parametrize("name", ["laplace1000_2500seqs", "laplace100_1050seqs_part4", "laplace1000_small30"])
def test_seed_one_on_rank_zero_gives_the_orders_of_the_reference(name: str) -> None:
    case = next(case for case in CASES if case["name"] == name)
    bin_size = int(case["seq_ordering"].removeprefix("laplace:."))
    config = OrderConfig(kind="laplace", bin_size=bin_size, partition=case["partition_epoch"])
    for epoch in case["epochs"]:
        order = epoch_order(config, np.array(case["lens"]), 16000, seed=1, epoch=epoch["epoch"])
        assert order.tolist() == epoch["order"]
