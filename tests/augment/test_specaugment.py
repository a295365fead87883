from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aedo.augment.specaugment import SpecAugment, SpecAugmentConfig, span_mask
from aedo.errors import UserError
from aedo.features.logmel import Features
from aedo.recipes.names import resolve
from aedo.schedule import START, PiecewiseLinear

ROWS = [
    row
    for row in json.loads((Path(__file__).parents[1] / "golden" / "data" / "specaugment.json").read_text())["rows"]
    if row["lens"] in ("80", "450", "mixed_200_of_1000")
]
DRAWS = 5


def config_of(row: dict[str, Any]) -> SpecAugmentConfig:
    options = row["options"]
    return SpecAugmentConfig(
        steps=tuple(options["steps"]),
        max_time_width=options["max_consecutive_spatial_dims"],
        max_band_width=options["max_consecutive_feature_dims"],
        frames_per_mask=options["num_spatial_mask_factor"],
        count_from="batch" if row["behavior_version"] <= 27 else "utterance",
    )


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['behavior_version']}-{row['step']}-{row['lens']}-{row['variant'][:6]}"
)
def test_masked_shares_have_the_reference_means_and_spreads(row: dict[str, Any]) -> None:
    torch.manual_seed(0)
    mixed = row["lens"].startswith("mixed")
    lengths = torch.tensor([200] * 90 + [1000] * 10 if mixed else [int(row["lens"])] * 100)
    augment, progress = config_of(row).build(), START._replace(micro_step=row["step"])
    time_share, band_share = [], []
    for _ in range(DRAWS):
        values = torch.ones(len(lengths), int(lengths.max()), 80)
        masked = augment(Features(values, lengths), progress).values == 0
        rows = 90 if mixed else 100
        time_share.append(masked[:rows, : int(lengths[0])].all(2).float().mean(1))
        band_share.append(masked[:rows, : int(lengths[0])].all(1).float().mean(1))
    for ours, kind in ((torch.cat(time_share), "time"), (torch.cat(band_share), "feat")):
        mean, std = row[f"{kind}_masked_mean"], row[f"{kind}_masked_std"]
        # Both sides are samples: five standard errors of their difference.
        assert abs(ours.mean().item() - mean) <= 5 * std * (1 / row["n"] + 1 / len(ours)) ** 0.5
        assert ours.std().item() == pytest.approx(std, rel=0.15)


def test_before_the_first_step_nothing_changes() -> None:
    features = Features(torch.randn(2, 50, 80), torch.tensor([50, 30]))
    masked = SpecAugmentConfig(steps=(10, 20, 30)).build()(features, START._replace(micro_step=9))
    assert masked is features


def test_padding_and_shape_stay_and_masked_values_are_zero() -> None:
    torch.manual_seed(1)
    features = Features(torch.randn(3, 60, 80) + 100, torch.tensor([60, 20, 5]))
    masked = SpecAugmentConfig(steps=(0, 0, 0)).build()(features, START)
    kept = masked.values == features.values
    assert masked.lengths is features.lengths
    assert (kept | (masked.values == 0)).all()
    assert not kept.all()


def test_spans_stay_inside_the_row_and_their_number_within_bounds() -> None:
    torch.manual_seed(2)
    lengths, ones = torch.tensor([5, 100]), torch.tensor([1, 1])
    for _ in range(50):
        mask = span_mask(lengths, 100, ones, ones, 10, torch.device("cpu"))
        assert not mask[0, 5:].any()
        assert (mask.sum(1) >= 1).all()
        assert (mask.sum(1) <= 10).all()


def masks_of(augment: SpecAugment, lengths: list[int], draws: int, micro_step: int = 10**6) -> tuple[torch.Tensor, ...]:
    """Which frames [n, T] and which bands [n, 80] are masked."""
    progress = START._replace(micro_step=micro_step)
    ones = Features(torch.ones(len(lengths), max(lengths), 80), torch.tensor(lengths))
    masked = torch.cat([augment(ones, progress).values == 0 for _ in range(draws)])
    return masked.all(2), masked.all(1)


def spans(mask: torch.Tensor) -> torch.Tensor:
    """How many separate masked spans every row has."""
    return (torch.nn.functional.pad(mask.int(), (1, 0)).diff(dim=1) > 0).sum(1)


def test_there_are_as_many_masks_as_the_phase_says() -> None:
    """Of width one, so that what is masked counts them: starts are drawn without replacement."""
    torch.manual_seed(3)
    narrow = resolve("tiny-specaugweia").augment.specaugment
    assert narrow is not None
    augment = narrow.with_("max_time_width", 1).with_("max_band_width", 1).with_("frames_per_mask", 20).build()
    for micro_step, most_times, most_bands in ((0, 5, 2), (1999, 5, 2), (2000, 10, 5)):
        times, bands = masks_of(augment, [200] * 100, 10, micro_step)
        for masked, most in ((times, most_times), (bands, most_bands)):
            counts = torch.bincount(masked.sum(1))
            assert len(counts) == most + 1
            share = 1 / (most + 1)
            assert (counts - 1000 * share).abs().max() < 5 * (1000 * share * (1 - share)) ** 0.5


def test_a_switchboard_mask_is_at_most_15_by_4() -> None:
    torch.manual_seed(4)
    augment = resolve("tiny-specaugweia").augment.specaugment
    assert augment is not None
    times, bands = masks_of(augment.build(), [20] * 100, 10)  # 20 frames: one mask at most
    assert spans(times).max() == 1
    assert times.sum(1).max() == 15
    assert bands.sum(1).max() <= 20


def test_espnets_masks_are_ten_of_up_to_a_twentieth_and_two_of_up_to_27() -> None:
    torch.manual_seed(5)
    config = resolve("tiny-specaugespnet").augment.specaugment
    assert config is not None
    times, bands = masks_of(config.build(), [1000, 400], 150, micro_step=0)
    bands_masked, long, short = bands.sum(1).float(), times[::2].float(), times[1::2, :400].float()
    assert not times[1::2, 400:].any()
    assert bands_masked.max() <= 54
    assert bands.all(1).sum() == 0
    # A frame in the middle stays with the probability that ten masks miss it: widths 0 .. W, starts anywhere.
    for masked, width in ((long, 50), (short, 20)):
        size = masked.shape[1]
        stays = (1 - width / 2 / size) ** 10
        middle = masked[:, 2 * width : -width].mean().item()
        assert middle == pytest.approx(1 - stays, abs=0.03)
    none = resolve("tiny-specaugespnet").augment.specaugment.with_("max_time_share", 0.001)  # type: ignore[union-attr]
    assert not masks_of(none.build(), [400], 5)[0].any(), "0.4 of a frame is none"


def test_strength_scales_the_numbers_of_masks() -> None:
    config = SpecAugmentConfig(steps=(0, 0, 0), max_time_width=1, max_band_width=1, frames_per_mask=20)
    ramp = PiecewiseLinear(nodes=(100.0,), values=(0.0, 1.0))
    for micro_step, most in ((-1, 0), (24, 10), (49, 20), (99, 40), (200, 40)):
        torch.manual_seed(6)
        times, bands = masks_of(config.with_("strength", ramp).build(), [200] * 100, 4, micro_step)
        assert times.sum(1).max() == most
        assert bands.sum(1).max() == int(5 * most / 40 + 0.5)
    features, state = Features(torch.ones(1, 50, 80), torch.tensor([50])), torch.get_rng_state()
    assert config.with_("strength", 0.0).build()(features, START) is features
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("micro_step", [5, 15, 25])
@pytest.mark.parametrize("count_from", ["batch", "utterance"])
def test_the_defaults_draw_what_was_drawn_before_there_were_options(micro_step: int, count_from: str) -> None:
    """The formula of the reference, with the random numbers in the same order."""
    k0, k1, k2 = (int(micro_step >= step) for step in (5, 15, 25))
    lengths, values = torch.tensor([900, 150, 3]), torch.randn(3, 900, 80)
    torch.manual_seed(7)
    counted = lengths if count_from == "utterance" else lengths.max().expand(3)
    most = (counted.div(100, rounding_mode="floor").clamp_min(2) * (k0 + k1 + 2 * k2)).minimum(counted)
    times = span_mask(lengths, 900, most.clamp_max(k1 + k2), most, 20, values.device)
    least_bands, most_bands = (torch.full((3,), count) for count in (k1 + k2, 2 * k0 + k1 + 2 * k2))
    bands = span_mask(torch.full((3,), 80), 80, least_bands, most_bands, 16, values.device)
    expected = values.masked_fill(times[:, :, None] | bands[:, None, :], 0.0)
    torch.manual_seed(7)
    augment = SpecAugmentConfig(steps=(5, 15, 25), count_from=count_from).build()
    ours = augment(Features(values, lengths), START._replace(micro_step=micro_step))
    assert torch.equal(ours.values, expected)


def test_phases_that_make_no_difference_or_fall_are_refused() -> None:
    same = {"time_factors": (1, 1, 1), "min_time_masks": (1, 1, 1), "max_band_masks": (2, 2, 2)}
    with pytest.raises(ValidationError, match="only the first counts"):
        SpecAugmentConfig(**same, min_band_masks=(1, 1, 1))
    assert SpecAugmentConfig(**same, min_band_masks=(1, 1, 1), steps=(7, 7, 7)).constant
    with pytest.raises(ValidationError, match="must not fall"):
        SpecAugmentConfig(steps=(2, 1, 3))


@pytest.mark.parametrize("preset", ["specaugweia", "specaugespnet"])
def test_presets_with_phases_of_their_own_refuse_others(preset: str) -> None:
    with pytest.raises(UserError, match=r"does not change over the training|both set augment.specaugment.steps"):
        resolve(f"24gb-v6-{preset}-specaugsteps0_1000_2000")
