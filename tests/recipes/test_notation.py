"""The notation of values: what each spelling means, and what is no spelling."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aedo.recipes.notation import (
    NotationError,
    Pattern,
    Range,
    parse_count,
    parse_labels,
    parse_layers,
    parse_number,
    split_list,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("01", 0.1),
        ("0025", 0.025),
        ("00025", 0.0025),
        ("0999", 0.999),
        ("5", 5.0),
        ("100", 100.0),
        ("1e_3", 1e-3),
        ("09e_3", 0.9e-3),
        ("25e_4", 2.5e-3),
        ("1e_16", 1e-16),
        ("2e3", 2000.0),
        ("30k", 30_000.0),
        ("450k", 450_000.0),
        ("05k", 500.0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert parse_number(text) == value  # exactly: the nearest float to the decimal number


@given(st.integers(0, 10**6), st.integers(0, 30))
def test_a_negative_power_of_ten_is_the_nearest_float(digits: int, power: int) -> None:
    assert parse_number(f"{digits}e_{power}") == float(Fraction(digits, 10**power))


@given(st.integers(1, 10**6))
def test_digits_behind_a_zero_are_decimals(digits: int) -> None:
    assert parse_number(f"0{digits}") == float(f"0.{digits}")


@pytest.mark.parametrize("text", ["", "x", "1.5", "-1", "1e", "1e-3", "k", "3kk", "1_000", "1e_", "٣"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(NotationError, match="no number"):
        parse_number(text)


def test_counts_are_whole() -> None:
    assert (parse_count("40k"), parse_count("12"), parse_count("0")) == (40_000, 12, 0)
    with pytest.raises(NotationError, match=r"025 is 0\.25"):
        parse_count("025")


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("48", (4, 8)),
        ("4_8", (4, 8)),
        ("4812", (4, 8, 12)),
        ("12", (12,)),
        ("8", (8,)),
        ("61218", (6, 12, 18)),
        ("1", (1,)),
        ("1_2", (1, 2)),
        ("4_10_16", (4, 10, 16)),
        ("20_24", (20, 24)),
    ],
)
def test_layers(text: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["84", "8_4", "44", "124", "20"])
def test_layers_that_do_not_increase_are_refused(text: str) -> None:
    with pytest.raises(NotationError, match="do not increase"):
        parse_layers(text)


def test_sizes_of_vocabularies_count_in_1024() -> None:
    assert [parse_labels(text) for text in ("512", "1k", "5k", "10k", "20k")] == [512, 1024, 5120, 10_240, 20_480]


def test_lists_do_not_break_exponents() -> None:
    assert split_list("1e_5_450k") == ["1e_5", "450k"]
    assert split_list("01_1e_3_2") == ["01", "1e_3", "2"]


def test_a_pattern_reads_its_values_and_holds_them_to_their_range() -> None:
    pattern = Pattern("lin{start:number}_{peak:count}", {"peak": Range(1, 1000)})
    found = pattern.match("lin1e_5_450")
    assert found == {"start": "1e_5", "peak": "450"}
    assert pattern.values(found) == {"start": 1e-5, "peak": 450}
    assert str(pattern) == "linSTART_PEAK"
    assert pattern.match("lin1e_5") is None
    with pytest.raises(NotationError, match="peak 450000 lies outside 1 to 1000"):
        pattern.values({"start": "1e_5", "peak": "450k"})


def test_every_number_of_a_list_is_held_to_the_range() -> None:
    pattern = Pattern("scale{scales:numbers}", {"scales": Range(0, 1)})
    assert pattern.values({"scales": "01_1_025"}) == {"scales": (0.1, 1.0, 0.25)}
    with pytest.raises(NotationError, match="scales 2 lies outside"):
        pattern.values({"scales": "01_2"})
