from __future__ import annotations

import numpy as np
import pytest

from aedo.search.pieces import pieces

RATE = 1000


def test_short_audio_stays_whole() -> None:
    assert pieces(np.ones(10 * RATE, np.float32), RATE, 10.0) == [(0, 10 * RATE)]


def test_long_audio_is_cut_in_its_pauses() -> None:
    samples = np.ones(25 * RATE, np.float32)
    for pause in (8, 14):
        samples[pause * RATE : pause * RATE + 300] = 0.01
    found = pieces(samples, RATE, 10.0)
    assert [p.start for p in found[1:]] == [p.stop for p in found[:-1]]
    assert found[0].start == 0
    assert found[-1].stop == len(samples)
    assert found[0].stop == pytest.approx(8150, abs=80)
    assert found[1].stop == pytest.approx(14150, abs=80)


def test_no_piece_is_too_long_or_empty() -> None:
    samples = np.random.default_rng(1).normal(size=61 * RATE).astype(np.float32)
    found = pieces(samples, RATE, 7.0)
    assert all(0 < p.stop - p.start <= 7 * RATE for p in found)
    assert sum(p.stop - p.start for p in found) == len(samples)
