from __future__ import annotations

import math

import pytest
import torch

from aedo.nn.dropout import Dropout
from aedo.nn.positions import (
    ClippedPositions,
    ClippedPositionsConfig,
    absolute_sinusoids,
    relative_shift,
    relative_sinusoids,
    rotated,
)


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_shift_moves_distances_to_their_keys(frames: int) -> None:
    scores = torch.randn(2, 3, frames, 2 * frames - 1)
    shifted = relative_shift(scores)
    assert shifted.shape == (2, 3, frames, frames)
    for i in range(frames):
        for j in range(frames):
            assert torch.equal(shifted[..., i, j], scores[..., i, j - i + frames - 1])


@pytest.mark.parametrize(("queries", "keys"), [(1, 4), (3, 3), (2, 5)])
def test_the_gradient_of_the_shift_is_that_of_its_values(queries: int, keys: int) -> None:
    scores = torch.randn(2, queries, queries + keys - 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(relative_shift, (scores,))
    turned = scores.detach().mT.contiguous().mT  # not contiguous
    assert torch.equal(relative_shift(turned), relative_shift(scores.detach()))


def test_distances_beyond_the_clip_share_a_vector() -> None:
    positions = ClippedPositions(4, 2, Dropout(0.0, "none"))
    torch.nn.init.normal_(positions.table.weight)
    scores = positions(query := torch.ones(1, 1, 6, 4), query).scores
    expected = positions.table.weight.sum(1)
    for i in range(6):
        for j in range(6):
            assert scores[0, 0, i, j].item() == pytest.approx(expected[max(-2, min(2, j - i)) + 2].item(), abs=1e-6)


def test_dropout_acts_on_distances_not_on_table_rows() -> None:
    torch.manual_seed(0)
    positions = ClippedPositionsConfig(clip=1, dropout=0.5).build(64, 1).train()
    torch.nn.init.ones_(positions.table.weight)
    scores = positions(query := torch.ones(1, 1, 40, 64), query).scores
    far = {round(scores[0, 0, 0, j].item(), 3) for j in range(2, 40)}
    assert len(far) > 5  # all share one row of the table, yet drop units of their own


def test_dropout_zero_and_evaluation_change_nothing() -> None:
    query = torch.randn(1, 2, 5, 8)
    for dropout, training in ((0.0, True), (0.5, False)):
        positions = ClippedPositionsConfig(clip=3, dropout=dropout).build(16, 2).train(training)
        torch.nn.init.ones_(positions.table.weight)
        content, _, scores = positions(query, query)
        assert content is query
        torch.testing.assert_close(scores, query.sum(-1, keepdim=True).expand(-1, -1, -1, 5))


def test_sinusoids_have_sine_first_and_are_antisymmetric() -> None:
    table = relative_sinusoids(torch.arange(-3, 4), 6)
    assert table.shape == (7, 6)
    torch.testing.assert_close(table[3], torch.tensor([0.0, 0, 0, 1, 1, 1]))
    torch.testing.assert_close(table[2, :3], -table[4, :3])
    torch.testing.assert_close(table[2, 3:], table[4, 3:])


def test_absolute_sinusoids_span_wavelengths_from_two_pi_to_twenty_thousand_pi() -> None:
    table = absolute_sinusoids(3, 2, 8, torch.device("cpu"))
    for row, position in enumerate((3, 4)):
        angles = [position / 10_000 ** (i / 3) for i in range(4)]
        expected = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        torch.testing.assert_close(table[row], torch.tensor(expected))


def test_rotated_products_depend_on_the_distance_alone() -> None:
    query, key = torch.randn(2, 1, 6, dtype=torch.float64)
    products = [rotated(query, 5 + shift) @ rotated(key, 2 + shift).T for shift in (0, 1, 40)]
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(products[0], products[2])
    assert (products[0] - query @ key.T).abs() > 1e-3
    torch.testing.assert_close(rotated(query, 0), query)


def test_rotation_turns_neighbouring_pairs_and_keeps_their_length() -> None:
    x = torch.tensor([[1.0, 0.0, 0.0, 2.0]])
    turned = rotated(x, 3)[0]
    slow = 3 / 10_000 ** (2 / 4)
    torch.testing.assert_close(
        turned, torch.tensor([math.cos(3), math.sin(3), -2 * math.sin(slow), 2 * math.cos(slow)])
    )
