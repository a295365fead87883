"""Loops and runaway words are told from what people say."""

from __future__ import annotations

import pytest

from aedo.search.doubts import Loop, doubt, longest_loop


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ("", None),
        ("abcabcabc", None),
        ("xaaaay", Loop(("a",), 4)),
        ("abababababx", Loop(("a", "b"), 5)),
        ("zabcabcabcabcab", Loop(("a", "b", "c"), 4)),
    ],
)
def test_the_longest_loop_is_found(sequence: str, expected: Loop | None) -> None:
    found = longest_loop(sequence)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.times == expected.times
    assert sorted(found.block) == sorted(expected.block)


def judged(words: str, heard: str, *, frames: int = 200, seconds: float = 12.0) -> str:
    return doubt(words.split(), heard.split(), len(words.split()), len(words.split()), frames, seconds)


def test_a_loop_that_the_ctc_head_does_not_hear_is_doubted() -> None:
    assert "'GO ON' 6 times on end" in judged("WE GO ON " + "GO ON " * 5, "WE GO ON")


def test_what_is_really_said_again_and_again_is_believed() -> None:
    assert judged("ZERO ZERO ZERO ZERO ONE", "ZERO ZERO ZERO ZERO ONE") == ""
    assert judged("ZERO ZERO ZERO ZERO ONE", "ZERO ZERO ZERO OH ONE") != ""
    assert judged("A B C", "A B") == ""


def test_more_than_anyone_can_say_is_doubted() -> None:
    assert judged("A B C D", "A", frames=3) == "4 labels for 3 frames of sound"
    assert "20 words in 1.5 s" in judged(" ".join(map(str, range(20))), "0 1", seconds=1.5)
