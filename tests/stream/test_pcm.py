import io
import os
import threading
import wave

import numpy as np
import pytest
import soundfile

from aedo.errors import UserError
from aedo.stream.pcm import file_blocks, pcm_blocks, piece_blocks
from tests.stream.pieces import noise

INTS = (noise(5000) * 32767).astype("<i2")
FLOATS = INTS.astype(np.float32) / 32768


def joined(blocks):
    found = list(blocks)
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def until_error(blocks):
    """What came before the error, and what the error says."""
    found = []
    with pytest.raises(UserError) as caught:
        found.extend(blocks)
    return joined(found), str(caught.value)


def wav_bytes(rate=16000, channels=1, width=2):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(INTS.tobytes())
    return buffer.getvalue()


def from_pipe(*parts: bytes):
    """A pipe into which another thread writes the parts, each by itself."""
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb", buffering=0) as file:
            for part in parts:
                file.write(part)

    threading.Thread(target=write, daemon=True).start()
    return os.fdopen(reading, "rb")


def test_samples_of_a_pipe_arrive_however_it_is_filled():
    data = INTS.tobytes()
    with from_pipe(data[:1], data[1:4], data[4:3001], data[3001:]) as pipe:
        assert np.array_equal(joined(pcm_blocks(pipe, "-", 16000)), FLOATS)


def test_what_is_in_a_pipe_is_given_at_once():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb", buffering=0) as end:
        blocks = pcm_blocks(pipe, "-", 16000)
        end.write(INTS[:100].tobytes())
        assert np.array_equal(next(blocks), FLOATS[:100])
        end.write(INTS[100:103].tobytes())
        assert np.array_equal(next(blocks), FLOATS[100:103])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_streams_shorter_than_any_header_are_samples_too(count):
    assert np.array_equal(joined(pcm_blocks(io.BytesIO(INTS[:count].tobytes()), "-", 16000)), FLOATS[:count])


def test_half_a_sample_at_the_end_is_an_error_after_all_that_came_before():
    found, message = until_error(pcm_blocks(io.BytesIO(INTS.tobytes() + b"\1"), "stdin", 16000))
    assert np.array_equal(found, FLOATS)
    assert "stdin: an odd number of bytes" in message
    assert "ffmpeg" in message


def test_a_wav_header_that_fits_is_skipped():
    assert np.array_equal(joined(pcm_blocks(io.BytesIO(wav_bytes()), "-", 16000)), FLOATS)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (wav_bytes(rate=8000), "says 8000 Hz, the model expects 16000"),
        (wav_bytes(channels=2), "2 channels of 16 bits"),
        (wav_bytes(width=1), "1 channels of 8 bits"),
        (wav_bytes()[:20], "ends before the samples"),
        (b"fLaC" + bytes(40), "compressed"),
        (b"OggS" + bytes(40), "compressed"),
    ],
)
def test_another_format_is_refused_with_what_to_do(data, complaint):
    found, message = until_error(pcm_blocks(io.BytesIO(data), "stdin", 16000))
    assert not len(found)
    assert complaint in message
    assert "ffmpeg" in message


def test_reading_that_breaks_off_gives_what_came_before():
    class Breaking(io.RawIOBase):
        def __init__(self):
            self.left = [INTS.tobytes(), INTS.tobytes()]

        def read(self, size=-1):
            if not self.left:
                raise OSError(5, "Input/output error")
            return self.left.pop()

    found, message = until_error(pcm_blocks(Breaking(), "stdin", 16000))
    assert len(found) == 2 * len(INTS)
    assert "Input/output error" in message


def test_raw_files_are_told_by_their_ending_and_others_by_their_header(tmp_path):
    (tmp_path / "a.pcm").write_bytes(INTS.tobytes())
    soundfile.write(tmp_path / "b.flac", INTS, 16000)
    soundfile.write(tmp_path / "c.wav", INTS, 8000)
    assert np.array_equal(joined(file_blocks(tmp_path / "a.pcm", 16000)), FLOATS)
    assert np.array_equal(joined(file_blocks(tmp_path / "b.flac", 16000)), FLOATS)
    assert len(joined(file_blocks(tmp_path / "c.wav", 16000))) == 2 * len(FLOATS)


@pytest.mark.parametrize("name", ["none.raw", "none.wav"])
def test_a_missing_file_is_named(tmp_path, name):
    assert name in until_error(file_blocks(tmp_path / name, 16000))[1]


def test_pieces_are_floats_integers_or_bytes_cut_anywhere():
    data = INTS.tobytes()
    assert np.array_equal(joined(piece_blocks([data[:3], data[3:4], b"", data[4:]], 16000)), FLOATS)
    assert np.array_equal(joined(piece_blocks([FLOATS[:7], INTS[7:], FLOATS[:0]], 16000)), FLOATS)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([np.inf], np.float32), "infinite"),
        (np.zeros((4, 2), np.float32), "mix several channels"),
        (np.zeros(3, np.int32), "not int32"),
    ],
)
def test_a_bad_piece_is_named_after_the_good_ones(bad, complaint):
    found, message = until_error(piece_blocks([FLOATS, bad, FLOATS], 16000))
    assert np.array_equal(found, FLOATS)
    assert "piece 2 (at 0.31 s)" in message
    assert complaint in message


def test_half_a_sample_left_over_by_pieces_is_an_error():
    assert "odd number of bytes" in until_error(piece_blocks([INTS.tobytes(), b"\1"], 16000))[1]
