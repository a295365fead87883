"""What a decoder says when it has lost its way: the same again and again, or more than anyone can say."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

_LONGEST = 16
"""Words or labels of the longest repeated block looked for."""
_REPEATED = 4
"""Times that a block must be heard on end to be a loop."""
_FASTEST = 8.0
"""Words a second; the fastest speakers say half as many."""


class Loop(NamedTuple):
    block: tuple[Hashable, ...]
    times: int


def longest_loop(sequence: Sequence[Hashable]) -> Loop | None:
    """The block of at most 16 that is repeated on end most often, at least four times; the shortest of equals."""
    best: Loop | None = None
    for size in range(1, min(_LONGEST, len(sequence) // _REPEATED) + 1):
        matched = 0  # how many elements on end equal the one `size` before
        for i in range(size, len(sequence)):
            matched = matched + 1 if sequence[i] == sequence[i - size] else 0
            times = matched // size + 1
            if times >= _REPEATED and (best is None or times > best.times):
                best = Loop(tuple(sequence[i - size + 1 : i + 1]), times)
    return best


def doubt(words: Sequence[str], heard: Sequence[str], labels: int, needed: int, frames: int, seconds: float) -> str:
    """Why the words of a search cannot be what was said, or nothing.

    `heard`: words of the best CTC path, which cannot loop: each of its labels stands on a frame of its own.  `needed`:
    frames that CTC needs for the search's labels; `frames`: those of the audio.  People do say ZERO ZERO ZERO ZERO; a
    loop is one where the CTC head hears it less often.
    """
    if needed > frames:
        return f"{labels} labels for {frames} frames of sound"
    if len(words) > _FASTEST * max(seconds, 1.0) and len(words) > 2 * len(heard):
        return f"{len(words)} words in {seconds:.1f} s"
    said = longest_loop(words)
    if said is not None:
        there = longest_loop(heard)
        if there is None or there.times < said.times - 1:
            return f"{' '.join(map(str, said.block))!r} {said.times} times on end"
    return ""
