"""A stream of blocks is the whole file, whatever its rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aedo.data.audio import AudioProblem, read_audio
from aedo.data.stream import stream_array, stream_file
from tests.data.sounds import cut_short, noise, write


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_blocks_joined_are_the_file_as_it_is_read_at_once(rate: int, tmp_path: Path) -> None:
    path = write(tmp_path / "sound.flac", noise(rate * 12, channels=2), rate=rate)
    blocks = list(stream_file(path, 16000))
    whole = read_audio(path, 16000)
    joined = np.concatenate(blocks)
    assert max(map(len, blocks)) <= 6 * 16000
    assert abs(len(joined) - len(whole)) <= 1
    assert np.abs(joined[: len(whole)] - whole[: len(joined)]).max() < 1e-4


def test_arrays_of_integers_are_scaled_to_one() -> None:
    (block,) = stream_array(np.array([-(2**15), 2**14], np.int16), 16000, 16000)
    assert block.tolist() == [-1.0, 0.5]
    (block,) = stream_array(np.array([0, 128, 192], np.uint8), 16000, 16000)
    assert block.tolist() == [-1.0, 0.0, 0.5]


def test_a_file_is_read_only_as_far_as_it_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", noise(16000 * 60))
    blocks = stream_file(path, 16000)
    assert len(next(blocks)) == 5 * 16000
    blocks.close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: p, "missing"),
        (lambda p: (p.mkdir(), p)[1], "folder"),
        (lambda p: (p.touch(), p)[1], "0 bytes"),
        (lambda p: (p.write_text("no sound"), p)[1], "unreadable"),
        (lambda p: write(p.with_suffix(".wav"), noise(0)), "0 samples"),
        (lambda p: cut_short(write(p.with_suffix(".wav"), noise(30000))), "truncated"),
        (lambda p: cut_short(write(p.with_suffix(".flac"), noise(30000))), "truncated"),
        (lambda p: cut_short(write(p.with_suffix(".ogg"), noise(30000))), "truncated"),
        (lambda p: write(p.with_suffix(".wav"), np.full(9, np.inf, np.float32), subtype="FLOAT"), "infinite"),
    ],
)
def test_what_cannot_be_used_says_why(make, reason: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AudioProblem) as problem:
        list(stream_file(make(tmp_path / "sound"), 16000))
    assert reason in problem.value.reason


def test_silence_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(4000), 16000)
    assert sum(map(len, stream_file(path, 16000))) == 4000
