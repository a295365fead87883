from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from aedo.augment.timewarp import CentreWarpConfig, FlowWarpConfig, warp
from aedo.features.logmel import Features
from aedo.schedule import START, Steps


def ramp(lengths: list[int], bands: int = 1) -> Features:
    """Every frame holds its number; padding holds -100."""
    values = torch.arange(max(lengths)).float()[None, :, None].repeat(len(lengths), 1, bands)
    for row, length in enumerate(lengths):
        values[row, length:] = -100.0
    return Features(values, torch.tensor(lengths))


@pytest.mark.parametrize("cubic", [True, False])
@pytest.mark.parametrize(
    ("length", "centre", "moved"), [(30, 12, 17), (30, 20, 4), (25, 1, 6), (30, 29, 24), (9, 4, 4)]
)
def test_both_parts_are_what_torch_interpolates(length: int, centre: int, moved: int, cubic: bool) -> None:
    torch.manual_seed(0)
    values = torch.randn(1, 30, 5)
    parts = [(values[:, :centre], moved), (values[:, centre:length], length - moved)]
    mode = "bicubic" if cubic else "bilinear"
    expected = [interpolate(part[:, None], (size, 5), mode=mode, align_corners=False)[:, 0] for part, size in parts]
    each = (torch.tensor([[number]]) for number in (length, centre, moved))
    warped = warp(values, *each, cubic=cubic)
    torch.testing.assert_close(warped[:, :length], torch.cat(expected, 1), rtol=1e-5, atol=1e-5)
    assert torch.equal(warped[:, length:], values[:, length:])


def test_time_runs_forwards() -> None:
    torch.manual_seed(1)
    values = CentreWarpConfig(width=3, interpolation="linear").build()(ramp([20] * 1000), START).values
    assert (values.diff(dim=1) >= 0).all()


def test_draws_cover_exactly_the_allowed_places(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watch(
        values: torch.Tensor, length: torch.Tensor, centre: torch.Tensor, moved: torch.Tensor, *, cubic: bool
    ) -> torch.Tensor:
        seen.append((centre[:, 0], moved[:, 0]))
        return values

    monkeypatch.setattr("aedo.augment.timewarp.warp", watch)
    CentreWarpConfig(width=3).build()(ramp([12] * 5000), START)
    centre, moved = seen[0]
    assert sorted(set(centre.tolist())) == [3, 4, 5, 6, 7, 8]
    assert sorted(set((moved - centre).tolist())) == [-2, -1, 0, 1, 2, 3]
    counts = torch.bincount(centre - 3)
    assert (counts - 833).abs().max() < 5 * 27  # expected 833 of each, standard deviation 27


def test_each_utterance_is_warped_within_its_own_length_and_short_ones_are_not() -> None:
    torch.manual_seed(3)
    features = ramp([60, 30, 10, 4, 0])
    warped = CentreWarpConfig().build()(features, START)
    assert warped.lengths is features.lengths
    for row, length in enumerate([60, 30, 10, 4, 0]):
        assert (warped.values[row, length:] == -100).all()
        assert (warped.values[row, :length] >= -1).all()
        assert (warped.values[row, :length] <= length).all()
    assert torch.equal(warped.values[2:], features.values[2:])
    assert not torch.equal(warped.values[:2], features.values[:2])
    assert not torch.equal(warped.values[0, :20], warped.values[1, :20]), "each its own warp"


@pytest.mark.parametrize("config", [CentreWarpConfig, FlowWarpConfig])
def test_a_width_of_zero_changes_nothing_and_draws_nothing(config: type) -> None:
    schedule = Steps(nodes=(10,), values=(0.0, 5.0))
    augment = config(**{"width" if config is CentreWarpConfig else "std": schedule}).build()
    features, state = ramp([50, 30]), torch.get_rng_state()
    assert augment(features, START._replace(micro_step=9)) is features
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(augment(features, START._replace(micro_step=10)).values, features.values)


def test_a_flow_has_its_standard_deviation_and_is_straight_between_its_nodes() -> None:
    torch.manual_seed(4)
    features = ramp([1000] * 200)
    flow = FlowWarpConfig(std=3.0, spacing=10).build()(features, START).values[:, 100:900, 0]
    flow = flow - torch.arange(100, 900)
    nodes = flow[:, ::10]
    assert nodes.std().item() == pytest.approx(3.0, rel=0.03)
    assert abs((nodes[:, 1:] * nodes[:, :-1]).mean().item()) < 0.3, "independent from node to node"
    middle = (flow[:, 0:-10:10] + flow[:, 10::10]) / 2
    torch.testing.assert_close(flow[:, 5::10][:, :-1], middle, rtol=0, atol=2e-3)


def test_a_flow_never_reads_padding() -> None:
    torch.manual_seed(5)
    warped = FlowWarpConfig(std=20.0).build()(ramp([80, 30, 1]), START).values
    for row, length in enumerate([80, 30, 1]):
        assert (warped[row, :length] >= 0).all()
        assert (warped[row, :length] <= length - 1).all()
        assert (warped[row, length:] == -100).all()
