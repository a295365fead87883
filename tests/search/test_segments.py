"""Cutting: all speech is kept once, silence and steady noise are not, and memory does not grow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from aedo.search.segments import Cutting, Piece, levels, quietest, speech_pieces

RATE = 8000


def speech(seconds: float, seed: int, level: float = 0.2) -> np.ndarray:
    """Noise that comes and goes four times a second, as syllables do."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    swell = 10 ** (-1.5 * np.abs(np.cos(np.pi * 4 * time)))
    return (random.standard_normal(len(time)) * swell * level).astype(np.float32)


def noise(seconds: float, seed: int, level: float = 0.0005) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * level).astype(np.float32)


def blocks(samples: np.ndarray, size: int = 5 * RATE) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def cut(samples: np.ndarray, size: int = 5 * RATE, **cutting: float) -> list[Piece]:
    return list(speech_pieces(blocks(samples, size), RATE, Cutting(**cutting)))


def spans(pieces: list[Piece]) -> list[tuple[float, float]]:
    return [(p.start / RATE, (p.start + len(p.samples)) / RATE) for p in pieces]


def test_each_utterance_between_pauses_is_a_piece_with_some_silence_around() -> None:
    parts = [noise(2, 1), speech(3, 2), noise(1.5, 3), speech(1, 4), noise(4, 5)]
    found = spans(cut(np.concatenate(parts)))
    assert len(found) == 2
    assert found[0] == pytest.approx((1.7, 5.3), abs=0.15)
    assert found[1] == pytest.approx((6.2, 7.8), abs=0.15)


def test_pieces_hold_the_samples_of_their_place_whatever_the_blocks() -> None:
    samples = np.concatenate([p for i in range(8) for p in (speech(2 + i, i), noise(0.3 + 0.2 * i, i))])
    found = cut(samples, longest=6.0)
    for piece in found:
        assert np.array_equal(piece.samples, samples[piece.start : piece.start + len(piece.samples)])
        assert len(piece.samples) <= 6.0 * RATE
    ends = [piece.start + len(piece.samples) for piece in found]
    assert all(end <= piece.start for end, piece in zip(ends, found[1:]))
    assert [(p.start, len(p.samples)) for p in cut(samples, size=777, longest=6.0)] == [
        (p.start, len(p.samples)) for p in found
    ]


def test_speech_without_pauses_is_cut_where_it_is_least_loud_and_none_is_lost() -> None:
    samples = speech(50, 1)
    samples[int(17.4 * RATE) : int(17.7 * RATE)] *= 0.01  # shorter than a pause
    found = cut(samples, longest=20.0)
    assert sum(len(p.samples) for p in found) >= len(samples) - 0.5 * RATE
    assert found[0].start + len(found[0].samples) == pytest.approx(17.55 * RATE, abs=0.1 * RATE)
    assert all(len(p.samples) <= 20 * RATE for p in found)


@pytest.mark.parametrize("level", [0.0, 1e-5, 0.003, 0.3])
def test_silence_and_steady_noise_are_no_speech(level: float) -> None:
    assert cut(noise(30, 1, level)) == []


def test_noise_that_sets_in_and_stops_is_no_speech_either() -> None:
    parts = [noise(20, 1), noise(15, 2, 0.05), noise(20, 3), speech(2, 4), noise(20, 5)]
    found = spans(cut(np.concatenate(parts)))
    assert found[-1] == pytest.approx((54.7, 57.3), abs=0.2)
    assert len(found) == 1


def test_faint_speech_after_loud_speech_is_kept() -> None:
    parts = [noise(1, 1, 1e-4), speech(3, 2, 0.3), noise(1, 3, 1e-4), speech(3, 4, 0.006), noise(1, 5, 1e-4)]
    assert len(cut(np.concatenate(parts))) == 2


def test_a_short_sound_alone_is_taken_as_speech_and_a_click_is_not() -> None:
    (piece,) = cut(noise(0.6, 1, 0.1))
    assert len(piece.samples) == int(0.6 * RATE)
    click = noise(10, 2)
    click[5 * RATE : 5 * RATE + 80] = 0.5
    assert cut(click) == []
    assert cut(np.zeros(0, np.float32)) == []


def test_no_more_is_read_than_a_piece_needs() -> None:
    read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal read
        for number in range(10_000):
            read += 1
            yield np.concatenate([speech(4, number), noise(1, number)])

    pieces = speech_pieces(endless(), RATE, Cutting(longest=10.0))
    for _ in range(3):
        next(pieces)
    assert read * 5 <= 15 + 10 + 2 * 5 + 10


def test_levels_are_decibels_below_full_scale_and_the_quietest_moment_is_found() -> None:
    assert levels(np.ones(10, np.float32), 4).tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    sound = np.zeros(100)
    sound[20:30] = sound[70:80] = -50.0
    assert quietest(sound) == pytest.approx(75, abs=2)


def rumble(seconds: float, seed: int) -> np.ndarray:
    """Noise of low frequencies, whose level comes and goes from frame to frame."""
    count = int(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    found = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)) / seconds, 20.0), count)
    return (0.1 * found / found.std()).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_a_rumble_is_no_speech(seed: int) -> None:
    assert cut(rumble(20, seed)) == []


def test_speech_over_a_rumble_is_found() -> None:
    sound = rumble(20, 1)
    sound[8 * RATE : 12 * RATE] += speech(4, 2, level=0.5)
    found = spans(cut(sound))
    assert any(start <= 8.3 and end >= 11.7 for start, end in found)
    assert sum(end - start for start, end in found) < 8


@pytest.mark.parametrize("seconds", [0.5, 0.8, 2.5, 9.0])
def test_steady_noise_that_sets_in_and_ends_is_no_speech(seconds: float) -> None:
    sound = np.concatenate([noise(2, 1), noise(seconds, 2, level=0.05), noise(2, 3)])
    assert cut(sound) == []


def test_short_speech_is_found() -> None:
    sound = np.concatenate([noise(2, 1), speech(0.4, 2), noise(2, 3)])
    ((start, end),) = spans(cut(sound))
    assert start < 2.05
    assert end > 2.35


def test_a_recording_too_short_to_be_judged_is_taken_as_it_is() -> None:
    assert len(cut(noise(0.5, 2, level=0.05))) == 1
