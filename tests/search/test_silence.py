"""Silence and noise give no text: with a model that has an opinion on any sound, and with a trained one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import aedo
from aedo.search.transcribe import Transcriber
from tests.search.speech import RATE, noise, speech, transcriber

SECONDS = 20
LEVELS = [-70, -50, -30, -15]
"""Decibels below full scale (root mean square)."""


def coloured(slope: float, seed: int) -> np.ndarray:
    """Noise whose power falls with frequency to this power: 0 white, 1 pink, 2 brown."""
    count = SECONDS * RATE
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    frequency = np.maximum(np.arange(len(spectrum)) / SECONDS, 20.0)
    return np.fft.irfft(spectrum / frequency ** (slope / 2), count)


def hum() -> np.ndarray:
    time = np.arange(SECONDS * RATE) / RATE
    return sum(np.sin(2 * np.pi * 50 * k * time + k) / k for k in range(1, 8)) + 0.0 * time


def babble() -> np.ndarray:
    """Forty that speak at once, none of them to be understood."""
    voices = [np.roll(speech(SECONDS, seed), seed * 1237) for seed in range(40)]
    return np.sum(voices, axis=0)


SOUNDS = {
    "white": lambda: coloured(0, 1),
    "pink": lambda: coloured(1, 2),
    "brown": lambda: coloured(2, 3),
    "hum": hum,
    "babble": babble,
}


def at(sound: np.ndarray, level: float) -> np.ndarray:
    return (sound / np.sqrt(np.mean(sound**2)) * 10 ** (level / 20)).clip(-1, 1).astype(np.float32)


def clicks() -> np.ndarray:
    found = noise(SECONDS, 5)
    for second in range(1, SECONDS, 3):
        found[second * RATE : second * RATE + 100] = 0.6
    return found


@pytest.fixture(scope="module")
def outspoken() -> Transcriber:
    return transcriber()


@pytest.fixture(scope="module")
def trained() -> Transcriber:
    run = os.environ.get("AEDO_TEST_RUN")
    if not run or not Path(run).is_dir():
        pytest.skip("AEDO_TEST_RUN names no run of a trained model")
    return aedo.load(run, device="cpu")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", SOUNDS)
def test_steady_noise_gives_no_text(outspoken: Transcriber, kind: str, level: float) -> None:
    assert outspoken.transcribe(at(SOUNDS[kind](), level)).text == ""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", SOUNDS)
def test_steady_noise_gives_a_trained_model_nothing_to_say(trained: Transcriber, kind: str, level: float) -> None:
    assert trained.transcribe(at(SOUNDS[kind](), level)).text == ""


@pytest.mark.parametrize("sound", [np.zeros(0, np.float32), np.zeros(1, np.float32), np.zeros(RATE, np.float32)])
def test_digital_silence_gives_no_text(outspoken: Transcriber, sound: np.ndarray) -> None:
    found = outspoken.transcribe(np.concatenate([sound, np.zeros(SECONDS * RATE, np.float32)]))
    assert (found.text, found.segments) == ("", ())


def test_clicks_give_no_text(outspoken: Transcriber) -> None:
    assert outspoken.transcribe(clicks()).text == ""


def test_noise_that_comes_and_goes_gives_a_trained_model_nothing_to_say(trained: Transcriber) -> None:
    """What the level alone cannot tell from speech: the CTC head hears nothing in it."""
    parts = [noise(2, 1, 0.001), noise(0.8, 2, 0.05), noise(1.5, 3, 0.001), noise(2.5, 4, 0.02), noise(3, 5, 0.001)]
    assert trained.transcribe(np.concatenate(parts)).text == ""
    assert trained.transcribe(clicks()).text == ""


def test_speech_between_noises_is_still_found(outspoken: Transcriber) -> None:
    parts = [at(coloured(1, 2), -50), speech(2, 1), at(coloured(0, 1), -50), np.zeros(3 * RATE, np.float32)]
    (segment,) = outspoken.transcribe(np.concatenate(parts).astype(np.float32)).segments
    assert segment.start == pytest.approx(SECONDS - 0.3, abs=0.3)
    assert segment.end == pytest.approx(SECONDS + 2.3, abs=0.3)
