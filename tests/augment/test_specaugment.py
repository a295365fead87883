from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aedo.augment.specaugment import SpecAugmentConfig, span_mask
from aedo.features.logmel import Features
from aedo.schedule import START

ROWS = [
    row
    for row in json.loads((Path(__file__).parents[1] / "golden" / "data" / "specaugment.json").read_text())["rows"]
    if row["lens"] in ("80", "450", "mixed_200_of_1000")
]
DRAWS = 5


def config_of(row: dict) -> SpecAugmentConfig:
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
def test_masked_shares_have_the_reference_means_and_spreads(row: dict) -> None:
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
