"""The best later recipe and ESPnet's: their numbers, and parameters counted by hand."""

from __future__ import annotations

import pytest
import torch

from aedo.model.aed import AED
from aedo.recipes.names import resolve
from aedo.schedule import START, value_at


def sizes(base: str) -> dict[str, int]:
    e = resolve(base)
    with torch.device("meta"):
        model: AED = e.build_model(e.tokenizer.size)
    return {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}


def frontend(dim: int) -> int:
    """Three 3 x 3 convolutions and a projection of 40 bands x 64 channels."""
    return (9 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64) + 40 * 64 * dim


def conformer_block(d: int, ff: int, kernel: int, *, bias: bool) -> int:
    feed_forwards = 2 * (2 * d * ff + (ff + d if bias else 0))
    attention = 4 * (d * d + d) + d * d + 2 * d  # queries, keys, values, output; positions and their two biases
    convolution = (d * 2 * d + 2 * d) + (kernel * d + d) + 2 * d + (d * d + d)
    return feed_forwards + attention + convolution + 5 * 2 * d


def test_the_large_model_has_the_parameters_counted_by_hand() -> None:
    d, labels, hidden = 1024, 10_240, 2816
    decoder_block = 4 * d * d + 4 * (d * d + d) + 3 * d * hidden + 3 * d
    assert sizes("large") == {
        "features": 0,
        "frontend": frontend(d),
        "encoder": 16 * conformer_block(d, 4096, 32, bias=False),
        "ctc_heads": 3 * (d + 1) * (labels + 1),
        "decoder": 6 * decoder_block + d + labels * d + (d + labels * d),
    }
    assert sum(sizes("large").values()) == 560_958_915


def test_espnets_conformer_has_the_parameters_counted_by_hand() -> None:
    d, labels, ff = 512, 5_000, 2048
    decoder_block = 8 * (d * d + d) + (2 * d * ff + ff + d) + 3 * 2 * d
    assert sizes("espnet-conformer10") == {
        "features": 0,
        "frontend": frontend(d),
        "encoder": 12 * conformer_block(d, ff, 31, bias=True),
        "ctc_heads": (d + 1) * (labels + 1),
        "decoder": 6 * decoder_block + 2 * d + 2 * labels * d,
    }


@pytest.mark.parametrize(("fraction", "rate"), [(0, 5e-6), (0.225, 2.525e-4), (0.45, 5e-4), (0.9, 5e-6), (1, 5e-7)])
def test_the_learning_rate_of_large_is_half_of_the_reference_curve(fraction: float, rate: float) -> None:
    at = START._replace(fraction=fraction)
    assert value_at(resolve("large").train.learning_rate, at) == pytest.approx(rate)


@pytest.mark.parametrize(("update", "rate"), [(20_000, 1.25e-3), (40_000, 2.5e-3), (160_000, 1.25e-3)])
def test_the_learning_rate_of_espnet_is_counted_in_updates(update: int, rate: float) -> None:
    at = START._replace(micro_step=16 * update)
    assert value_at(resolve("espnet-conformer10").train.learning_rate, at) == pytest.approx(rate, rel=1e-4)


def test_both_bases_take_tags() -> None:
    small = resolve("large-d384ff1024-n6-aux36-trafodec2d128-maxsecs30")
    assert (small.encoder.dim, small.encoder.layers, small.batch.max_seconds) == (384, 6, 30)
    side_by_side = resolve("espnet-conformer10-ebranchformer-n17-ff1024-mergeks31-aux17")
    assert (side_by_side.encoder.kind, side_by_side.ctc.layers) == ("ebranchformer", (17,))
