"""What the CTC head hears decides where a piece is cut once more."""

from __future__ import annotations

import math

import pytest
import torch

from aedo.search.heard import heard_parts
from aedo.search.segments import Piece

FRAME = 0.1
"""Seconds of an encoder frame."""


def hearing(*rows: list[int], frames: int = 60) -> torch.Tensor:
    """Log probabilities of one label and the blank, sure of the label in the frames given and of blank elsewhere."""
    found = torch.tensor([0.01, 0.99]).repeat(len(rows), frames, 1)
    for row, frames_of_row in enumerate(rows):
        found[row, frames_of_row] = torch.tensor([0.8, 0.2])
    return found.log()


def parts(*rows: list[int], lengths: list[int] | None = None) -> list[list[tuple[float, float]]]:
    found = heard_parts(hearing(*rows), torch.tensor(lengths or [60] * len(rows)), FRAME)
    return [[(round(part.start, 3), round(part.end, 3)) for part in one] for one in found]


def test_a_piece_with_labels_all_over_stays_whole() -> None:
    assert parts([5, 15, 25, 35, 45, 53]) == [[(0.0, math.inf)]]


def test_a_long_silence_is_cut_and_room_is_left_around_what_is_heard() -> None:
    assert parts([5, 10, 40, 50, 55]) == [[(0.0, 1.6), (3.5, math.inf)]]


def test_silence_within_what_somebody_says_is_no_cut() -> None:
    assert parts([5, 20, 35, 50], lengths=[57]) == [[(0.0, math.inf)]]


def test_noise_before_and_behind_is_left_out_but_not_a_little_of_it() -> None:
    assert parts([20, 30]) == [[(1.5, 3.6)]]
    assert parts([7, 20, 35, 50], lengths=[57]) == [[(0.0, math.inf)]]


def test_each_piece_counts_to_its_own_end() -> None:
    assert parts([5, 10], [5, 10], lengths=[60, 18]) == [[(0.0, 1.6)], [(0.0, math.inf)]]


def test_nothing_heard_leaves_nothing() -> None:
    assert parts([]) == [[]]
    assert heard_parts(hearing([]), torch.tensor([0]), FRAME) == [[]]


def test_a_part_of_a_piece_holds_the_samples_of_its_place() -> None:
    piece = Piece(1000, torch.arange(500).numpy())
    assert piece.part(1.0, 2.0, 100).start == 1100
    assert piece.part(1.0, 2.0, 100).samples.tolist() == list(range(100, 200))
    assert piece.part(0.0, math.inf, 100).samples.tolist() == list(range(500))
    assert piece.part(-0.5, 9.0, 100).samples.tolist() == list(range(500))


@pytest.mark.parametrize("blank", [0.85, 0.95])
def test_a_doubtful_blank_counts_as_heard(blank: float) -> None:
    values = torch.tensor([1 - blank, blank]).repeat(1, 60, 1).log()
    assert bool(heard_parts(values, torch.tensor([60]), FRAME)[0]) == (blank < 0.9)
