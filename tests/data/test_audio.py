from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording
from lhotse.audio import AudioSource

from aedo.data.audio import AudioConfig, AudioProblem, check_container, decode, read_audio, samples_of, write_flac
from aedo.errors import UserError
from tests.data.sounds import RATE, cut_short, noise, write


def cut_of(path: Path, samples: int, rate: int = RATE) -> MonoCut:
    duration = samples / rate
    recording = Recording("u", [AudioSource("file", [0], str(path))], rate, samples, duration)
    return MonoCut("u", 0.0, duration, 0, recording=recording)


def test_samples_are_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise())
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(samples_of(cut_of(path, 4000), AudioConfig(peak_normalize=False)), expected)


def test_peak_normalisation_makes_the_largest_magnitude_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise() - 0.2)
    samples = samples_of(cut_of(path, 4000), AudioConfig())
    assert samples.dtype == np.float32
    assert np.abs(samples).max() == 1.0


def test_a_part_of_a_recording_can_be_a_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise())
    whole = cut_of(path, 4000)
    part = whole.truncate(offset=0.05, duration=0.1)
    config = AudioConfig(peak_normalize=False)
    np.testing.assert_array_equal(samples_of(part, config), samples_of(whole, config)[800:2400])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_any_format_any_rate_and_any_channels_become_mono_at_the_rate_asked_for(tmp_path: Path, suffix: str) -> None:
    rate = 48000
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    path = write(tmp_path / f"a.{suffix}", np.stack([tone, tone], axis=1).astype(np.float32), rate)
    samples = read_audio(path, RATE)
    assert samples.shape == (RATE,)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() == 440


def test_mixing_averages_the_channels(tmp_path: Path) -> None:
    left, right = noise(seed=1), noise(seed=2)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path, RATE), (left + right) / 2, atol=1e-7)


def missing(folder: Path) -> Path:
    return folder / "none.flac"


def is_folder(folder: Path) -> Path:
    return folder


def no_bytes(folder: Path) -> Path:
    (folder / "a.flac").touch()
    return folder / "a.flac"


def no_audio(folder: Path) -> Path:
    (folder / "a.flac").write_text("this is not audio")
    return folder / "a.flac"


N = 40000
BAD_FILES = [
    (missing, "audio file is missing"),
    (is_folder, "audio path is a folder"),
    (no_bytes, "audio file has 0 bytes"),
    (no_audio, "audio is unreadable or truncated: "),
    (lambda f: cut_short(write(f / "a.flac", noise(N))), "audio is unreadable or truncated: "),
    (lambda f: cut_short(write(f / "a.wav", noise(N))), "audio is truncated: 19989 of 40000 samples"),
    (lambda f: cut_short(write(f / "a.mp3", noise(N))), "audio is truncated: "),
    (lambda f: write(f / "a.wav", noise(0)), "audio has 0 samples"),
    (lambda f: write(f / "a.wav", noise(N) * 0), "audio is silent"),
    (lambda f: write(f / "a.wav", noise(N) * 0 + 0.5), "audio is silent"),
    (lambda f: write(f / "a.wav", noise(N) * np.nan, subtype="FLOAT"), "audio has NaN or infinite samples"),
    (lambda f: write(f / "a.wav", noise(N) * np.inf, subtype="FLOAT"), "audio has NaN or infinite samples"),
]
WRONG_FORMATS = [
    (
        lambda f: write(f / "a.wav", noise(N), 8000),
        "audio is 8000 Hz, expected 16000; run aedo prepare with --resample",
    ),
    (lambda f: write(f / "a.wav", noise(N, channels=2)), "audio has 2 channels, expected 1; run aedo prepare with"),
]


def ids(table: list) -> list[str]:
    return [message[:40] for _, message in table]


@pytest.mark.parametrize(("make", "message"), BAD_FILES, ids=ids(BAD_FILES))
def test_reading_a_bad_file_says_why_it_fails(tmp_path: Path, make, message: str) -> None:
    with pytest.raises(AudioProblem) as caught:
        read_audio(make(tmp_path), RATE)
    assert caught.value.reason.startswith(message)


@pytest.mark.parametrize(("make", "message"), BAD_FILES + WRONG_FORMATS, ids=ids(BAD_FILES + WRONG_FORMATS))
def test_loading_a_bad_utterance_says_why_it_fails(tmp_path: Path, make, message: str) -> None:
    with pytest.raises(AudioProblem) as caught:
        samples_of(cut_of(make(tmp_path), N), AudioConfig())
    assert caught.value.reason.startswith(message)


def test_audio_shortened_after_preparation_is_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(3000))
    with pytest.raises(AudioProblem, match="audio is truncated: 3000 of 4000 samples are there"):
        samples_of(cut_of(path, 4000), AudioConfig())


def test_a_wav_that_was_streamed_has_an_open_length_and_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise())
    content = bytearray(path.read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(decode(path).samples) == 4000


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_an_ogg_file_cut_inside_a_page_is_truncated(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(160000))
    check_container(path)
    cut_short(path, 0.9)
    with pytest.raises(AudioProblem, match="the last Ogg page is incomplete"):
        check_container(path)


def test_written_flac_is_scaled_down_instead_of_clipped(tmp_path: Path) -> None:
    samples = noise() * 100
    write_flac(tmp_path / "deep" / "a.flac", samples, RATE)
    read, _ = soundfile.read(tmp_path / "deep" / "a.flac", dtype="float32")
    np.testing.assert_allclose(read, samples / np.abs(samples).max(), atol=1e-4)


def test_a_flac_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/a\.flac: cannot be written"):
        write_flac(tmp_path / "file" / "a.flac", noise(), RATE)
