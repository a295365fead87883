from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import interpolate

from aedo.augment.resize import FrameDropConfig, ResizeConfig, resized
from aedo.features.logmel import Features
from aedo.schedule import START, Steps


def ramp(lengths: list[int]) -> Features:
    values = torch.arange(max(lengths)).float()[None, :, None].repeat(len(lengths), 1, 2)
    for row, length in enumerate(lengths):
        values[row, length:] = -100.0
    return Features(values, torch.tensor(lengths))


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.0, 1.17, 2.0])
def test_a_whole_utterance_is_what_torch_interpolates(factor: float) -> None:
    torch.manual_seed(0)
    values = torch.randn(1, 40, 3)
    ours = resized(Features(values, torch.tensor([40])), factor)
    size = ours.values.shape[1]
    assert ours.lengths.tolist() == [size]
    assert size - 1 < 40 * factor <= size
    expected = interpolate(values.transpose(1, 2), scale_factor=factor, mode="linear", recompute_scale_factor=False)
    common = min(size, expected.shape[2])  # torch rounds lengths down
    torch.testing.assert_close(ours.values[:, :common], expected.transpose(1, 2)[:, :common], rtol=1e-4, atol=1e-4)


def test_lengths_are_rounded_up_and_no_padding_is_read() -> None:
    ours = resized(ramp([50, 21, 1, 0]), 1.13)
    assert ours.lengths.tolist() == [57, 24, 2, 0]
    assert ours.lengths.device.type == "cpu"
    assert ours.values.shape[1] == 57
    for row, (old, new) in enumerate(zip([50, 21, 1], [57, 24, 2])):
        assert (ours.values[row, :new] >= 0).all()
        assert (ours.values[row, :new] <= old - 1).all()


def test_factor_one_is_exact() -> None:
    features = Features(torch.randn(2, 30, 4), torch.tensor([30, 12]))
    ours = resized(features, 1.0)
    assert torch.equal(ours.lengths, features.lengths)
    assert torch.equal(ours.values[0], features.values[0])
    assert torch.equal(ours.values[1, :12], features.values[1, :12])


def test_one_factor_for_the_batch_uniform_between_its_limits() -> None:
    torch.manual_seed(1)
    augment, features = ResizeConfig(low=0.9, high=1.2).build(), ramp([10_000, 5_000])
    drawn = torch.stack([augment(features, START).lengths for _ in range(400)]).double()
    assert (drawn[:, 0] / 2 - drawn[:, 1]).abs().max() <= 1
    factors = drawn[:, 0] / 10_000
    assert 0.9 <= factors.min() < 0.905
    assert 1.195 < factors.max() <= 1.2
    assert factors.mean().item() == pytest.approx(1.05, abs=5 * 0.0866 / 20)


@pytest.mark.parametrize(("longest", "limit"), [(250, 1.2), (251, 1.0)])
def test_the_guard_keeps_long_batches_from_growing(longest: int, limit: float) -> None:
    torch.manual_seed(2)
    augment = ResizeConfig(low=0.9, high=1.2, lengthen_up_to=250).build()
    most = max(int(augment(ramp([longest, 10]), START).lengths[0]) for _ in range(200))
    assert 0.97 * limit < most / longest <= limit + 1 / longest


@pytest.mark.parametrize(
    "fields", [{"low": 1.2, "high": 0.9}, {"low": 1.0, "high": 1.2, "lengthen_up_to": 9}, {"low": 0.0, "high": 1.0}]
)
def test_factors_that_make_no_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ResizeConfig.model_validate(fields)


def test_frames_are_left_out_with_the_given_probability_and_stay_in_order() -> None:
    torch.manual_seed(3)
    features = ramp([400] * 100 + [200] * 100)
    ours = FrameDropConfig(rate=0.1).build()(features, START)
    assert ours.values.shape[1] == int(ours.lengths.max())
    seen = torch.zeros(200, 400)
    for row, length in enumerate(ours.lengths.tolist()):
        frames = ours.values[row, :length, 0]
        assert (frames.diff() > 0).all()
        assert torch.equal(ours.values[row, :length, 1], frames)
        seen[row, frames.long()] = 1
    assert not seen[100:, 200:].any()
    kept = seen[:100].sum(1)
    # Binomial with 400 draws: mean 360, standard deviation 6
    assert abs(kept.mean().item() - 360) < 5 * 6 / 10
    assert kept.std().item() == pytest.approx(6, rel=0.35)
    assert (seen[:, :200].mean(0) - 0.9).abs().max() < 5 * 0.3 / 200**0.5, "every frame alike"


def test_at_least_ten_frames_are_kept() -> None:
    torch.manual_seed(4)
    ours = FrameDropConfig(rate=0.99).build()(ramp([300, 12, 10, 4, 0]), START)
    assert ours.lengths[0] >= 10
    assert ours.lengths[1:].tolist() == [10, 10, 4, 0]
    assert ours.values[3, :4, 0].tolist() == [0, 1, 2, 3]


def test_a_rate_of_zero_drops_nothing_and_draws_nothing() -> None:
    augment = FrameDropConfig(rate=Steps(nodes=(5,), values=(0.0, 0.5))).build()
    features, state = ramp([50]), torch.get_rng_state()
    assert augment(features, START._replace(micro_step=4)) is features
    assert torch.equal(torch.get_rng_state(), state)
    assert augment(features, START._replace(micro_step=5)).lengths[0] < 50
