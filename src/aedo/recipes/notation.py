"""How tags spell their values: the one place where they are parsed.

    0            0            a number that starts with 0 is a fraction: the point stands behind that first zero
    01           0.1
    0025         0.025
    12           12
    1e_3         0.001        `e_` starts a negative exponent of ten, `e` a positive one
    09e_3        0.0009
    30k          30000        k = 1000
    0_1000_2000  0, 1000, 2000    lists are joined by underscores
    4812         4, 8, 12     layers (see `parse_layers`); with underscores too: 4_8_12

A tag's pattern names the place, the type and (beside it) the range of each value: `posdrop{rate:fraction}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

_NUMBER = r"[0-9]+(?:e_?[0-9]+)?k?"


class Range(NamedTuple):
    """Smallest and largest legal value, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


class NotationError(ValueError):
    """A value that is spelled like one but is none, or lies outside its range."""


def parse_number(text: str) -> float:
    """09e_3 -> 0.0009.  Exact: the digits are those of a decimal number."""
    found = re.fullmatch(r"([0-9]+)(?:e(_?)([0-9]+))?(k?)", text)
    if not found:
        raise NotationError(f"{text!r} is no number; write 01 for 0.1, 1e_3 for 0.001, 30k for 30000")
    digits, minus, exponent, kilo = found.groups()
    if len(digits) > 1 and digits[0] == "0":
        digits = f"0.{digits[1:]}"
    power = int(exponent or 0) * (-1 if minus else 1) + (3 if kilo else 0)
    return float(Decimal(digits).scaleb(power))


def parse_count(text: str) -> int:
    """30k -> 30000.  Whole numbers only."""
    value = parse_number(text)
    if value != int(value):
        raise NotationError(f"{text} is {value:g}, but a whole number is needed")
    return int(value)


def parse_layers(text: str) -> tuple[int, ...]:
    """48 -> (4, 8); 4812 -> (4, 8, 12); 12 -> (12,); 4_8_12 -> (4, 8, 12).

    Without underscores a 1 always takes the next digit along and every other digit stands alone.  The numbers increase.
    """
    layers = tuple(int(part) for part in (text.split("_") if "_" in text else re.findall(r"1\d|\d", text)))
    if any(b <= a for a, b in pairwise(layers)):
        raise NotationError(
            f"{text} reads as layers {', '.join(map(str, layers))}, which do not increase; separate them by underscores"
        )
    return layers


def parse_labels(text: str) -> int:
    """10k -> 10240.  In the names of vocabularies (and only there) k = 1024, as their publishers count."""
    return int(text[:-1]) * 1024 if text.endswith("k") else int(text)


@dataclass(frozen=True)
class ValueType:
    regex: str
    parse: Callable[[str], Any]
    meaning: str
    """Shown in help and errors."""


TYPES: Mapping[str, ValueType] = {
    "fraction": ValueType(_NUMBER, parse_number, "a fraction (01 = 0.1)"),
    "number": ValueType(_NUMBER, parse_number, "a number (01 = 0.1, 1e_3 = 0.001, 30k = 30000)"),
    "count": ValueType(r"[0-9]+k?", parse_count, "a whole number (30k = 30000)"),
    "numbers": ValueType(
        rf"{_NUMBER}(?:_{_NUMBER})*",
        lambda text: tuple(parse_number(part) for part in split_list(text)),
        "numbers joined by underscores (01_02 = 0.1, 0.2)",
    ),
    "layers": ValueType(r"[0-9]+(?:_[0-9]+)*", parse_layers, "layers (48 or 4_8 = layers 4 and 8)"),
    "labels": ValueType(r"[0-9]+k?", parse_labels, "a number of labels (512; 10k = 10240)"),
}


def split_list(text: str) -> list[str]:
    """1e_3_2 -> [1e_3, 2]: an underscore behind an e belongs to the exponent."""
    return re.split(r"(?<!e)_", text)


class Pattern:
    """A tag's spelling with places for values: `lrlin{start:number}_{peak:count}`."""

    def __init__(self, spelling: str, ranges: Mapping[str, Range]) -> None:
        self.spelling, self.ranges = spelling, ranges
        self.types: dict[str, ValueType] = {}
        regex = ""
        for literal, name, kind in re.findall(r"([^{}]+)|\{(\w+):(\w+)\}", spelling):
            if literal:
                regex += re.escape(literal)
            else:
                self.types[name] = TYPES[kind]
                regex += f"(?P<{name}>{TYPES[kind].regex})"
        self._regex = re.compile(regex)
        self.key = re.split(r"[{\d]", spelling)[0]
        """The letters in front of the first value."""

    def __str__(self) -> str:
        return re.sub(r"\{(\w+):\w+\}", lambda found: found[1].upper(), self.spelling)

    @property
    def needs(self) -> tuple[str, ...]:
        """Each of its values in words."""
        return tuple(
            f"{name.upper()} is {kind.meaning}" + (f", {self.ranges[name]}" if name in self.ranges else "")
            for name, kind in self.types.items()
        )

    def match(self, text: str) -> dict[str, str] | None:
        """The values' spellings, or None where `text` is not spelled like this."""
        found = self._regex.fullmatch(text)
        return found.groupdict() if found else None

    def values(self, spelled: Mapping[str, str]) -> dict[str, Any]:
        """The values; NotationError where one is malformed or out of range."""
        values = {name: self.types[name].parse(text) for name, text in spelled.items()}
        for name, allowed in self.ranges.items():
            value = values.get(name, ())
            for one in value if isinstance(value, tuple) else (value,):
                if not allowed.low <= one <= allowed.high:
                    raise NotationError(f"{name} {one:g} lies outside {allowed}")
        return values
