"""Giving memory back changes nothing else, and needs no C library that can."""

from __future__ import annotations

import ctypes

import pytest

from aedo.search.memory import give_back


def test_memory_is_given_back_where_that_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Library:
        @staticmethod
        def malloc_trim(left: int) -> None:
            asked.append(left)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    give_back()
    assert asked == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back()
