"""Mixup: the reference's statistics over many draws, its buffer step by step, and what survives a killed run."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aedo.augment.mixup import Mixup, MixupConfig
from aedo.features.logmel import Features
from aedo.schedule import START

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data" / "mixup.json").read_text())
CALLS = 400


def zeros(lengths: list[int]) -> Features:
    return Features(torch.zeros(len(lengths), max(lengths), 3), torch.tensor(lengths))


def filled(options: dict[str, Any], frames: int) -> Mixup:
    """Its buffer holds 1, the number of the frame, and noise of +-1."""
    mixup = MixupConfig(**{"buffer_frames" if k == "buffer_size" else k: v for k, v in options.items()}).build()
    noise = torch.randint(0, 2, (frames,)) * 2.0 - 1.0
    content = torch.stack([torch.ones(frames), torch.arange(frames).float(), noise], 1)
    mixup.load_state({"position": frames % options["buffer_size"], "wrapped": True, "buffer": content})
    if frames < options["buffer_size"]:
        mixup.position, mixup.wrapped = frames, False
    return mixup


def added(mixup: Mixup, lengths: list[int]) -> torch.Tensor:
    """One batch of zeros mixed, without its going into the buffer."""
    mixup._append = lambda buffer, features: None  # type: ignore[method-assign]
    return mixup(zeros(lengths), START).values


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_what_is_added_has_the_reference_statistics(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    mixup, lengths = filled(case["options"], case["frames_in_buffer"]), case["lens"]
    batches = torch.stack([added(mixup, lengths) for _ in range(CALLS)])  # [calls, B, T, 3]
    applied = (batches != 0).flatten(1).any(1)
    share, expected = applied.float().mean().item(), case["fraction_applied"]
    # Both sides are samples: five standard errors of their difference.
    assert abs(share - expected) <= 5 * (expected * (1 - expected) * (1 / CALLS + 1 / case["calls"])) ** 0.5
    if not case["calls_applied"]:
        return
    theirs = case["calls_applied"] * len(lengths)
    values = batches[applied].flatten(0, 1)  # [utterances, T, 3]
    weights = values[:, :, 0]
    assert weights.std(1).max() < 1e-6, "slices are as long as the padded batch"
    total, energy = weights[:, 0], values[:, :, 2].square().mean(1)
    for ours, name in ((total, "total_weight"), (energy, "added_energy_noise_feature")):
        mean, var = case[name]["mean"], case[name]["var"]
        assert abs(ours.mean().item() - mean) <= 5 * (var * (1 / theirs + 1 / len(ours))) ** 0.5 + 1e-6, name
        assert ours.var().item() == pytest.approx(var, rel=0.25, abs=1e-9), name
    assert total.max() <= case["options"]["lambda_max"] + 1e-6
    assert total.min() >= case["options"]["lambda_min"] - 1e-6


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_weight_varies_less_the_more_slices_there_are(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    case = GOLDEN["cases"][0]
    mixup, draw = filled(case["options"], 2000), torch.randint

    def slices(low: int, high: int, size: tuple[int, ...], **rest: Any) -> torch.Tensor:
        return torch.full(size, number) if (low, high) == (1, 5) else draw(low, high, size, **rest)

    monkeypatch.setattr(torch, "randint", slices)
    total = torch.cat([added(mixup, [20] * 50)[:, 0, 0] for _ in range(60)])
    theirs = case["total_weight_by_num_slices"][str(number)]
    assert total.var().item() == pytest.approx(theirs["var"], rel=0.15)
    count = case["num_slices_histogram"][str(number)]
    assert abs(total.mean().item() - theirs["mean"]) <= 5 * (theirs["var"] * (1 / count + 1 / 3000)) ** 0.5


def test_slices_start_anywhere_they_fit_and_are_contiguous() -> None:
    torch.manual_seed(2)
    mixup = filled({"buffer_size": 60, "max_num_mix": 1, "lambda_min": 0.25, "lambda_max": 0.25}, 60)
    values = torch.cat([added(mixup, [20] * 50) for _ in range(100)])
    frames = values[:, :, 1] / values[:, :, :1].squeeze(-1)
    assert (frames.diff(dim=1) - 1).abs().max() < 1e-4
    starts = frames[:, 0].round().long()
    counts = torch.bincount(starts, minlength=41)
    assert counts.shape == (41,)
    # 5000 / 41 = 122 expected of each, standard deviation 11
    assert (counts - 122).abs().max() < 60


def test_the_buffer_is_the_reference_one_after_every_batch() -> None:
    mixup, number = MixupConfig(buffer_frames=30, apply_prob=1e-9).build(), 0
    for step in GOLDEN["ring_buffer"]["trace"]:
        lengths = step["lens"]
        features = Features(torch.full((len(lengths), max(lengths), 1), -1.0), torch.tensor(lengths))
        for row, length in enumerate(lengths):
            features.values[row, :length, 0] = torch.arange(number, number + length)
            number += length
        mixup(features, START)
        assert (mixup.position, mixup.wrapped) == (step["buffer_pos"], step["buffer_filled"])
        assert mixup._buffer is not None
        assert mixup._buffer[:30, 0].tolist() == step["buffer"]


def test_features_go_into_the_buffer_as_they_came() -> None:
    torch.manual_seed(3)
    mixup = MixupConfig(buffer_frames=100).build()
    first, second = (Features(torch.randn(2, 10, 4), torch.tensor([10, 7])) for _ in range(2))
    assert mixup(first, START) is first, "nothing to mix in yet"
    mixed = mixup(second, START)
    assert not torch.equal(mixed.values, second.values)
    assert mixed.lengths is second.lengths
    assert mixup._buffer is not None
    expected = [first.values[0], first.values[1, :7], second.values[0], second.values[1, :7]]
    assert torch.equal(mixup._buffer[:34], torch.cat(expected))


def test_broken_features_leave_no_trace_in_the_buffer() -> None:
    mixup = MixupConfig(buffer_frames=100).build()
    mixup(Features(torch.full((1, 10, 4), float("nan")), torch.tensor([10])), START)
    assert mixup(zeros([5])._replace(values=torch.zeros(1, 5, 4)), START).values.isfinite().all()


@pytest.mark.parametrize("batches", [0, 2, 9])
def test_from_its_state_it_goes_on_bit_for_bit(batches: int, tmp_path: Path) -> None:
    straight, resumed = (MixupConfig(buffer_frames=50).build() for _ in range(2))

    def run(mixup: Mixup, number: int) -> torch.Tensor:
        torch.manual_seed(number)
        return mixup(Features(torch.randn(2, 6, 4), torch.tensor([6, 3])), START).values

    for number in range(batches):
        run(straight, number)
    torch.save(straight.state(), tmp_path / "state.pt")
    assert (tmp_path / "state.pt").stat().st_size < 4000, "only what was written to is saved"
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    for number in range(batches, batches + 12):
        assert torch.equal(run(straight, number), run(resumed, number))


def test_a_saved_state_does_not_change_with_the_buffer() -> None:
    mixup = MixupConfig(buffer_frames=20).build()
    features = Features(torch.randn(1, 20, 2), torch.tensor([20]))
    mixup(features, START)
    state = mixup.state()
    before = copy.deepcopy(state)
    mixup(Features(features.values + 1, features.lengths), START)
    assert torch.equal(state["buffer"], before["buffer"])


def test_impossible_weights_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"lambda_min 0.5 is greater than lambda_max 0.4"):
        MixupConfig(lambda_min=0.5)
