"""Recordings of any length: what is found in them does not depend on how they are read, cut together or decoded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aedo.errors import UserError
from aedo.search.hypotheses import Hypothesis
from aedo.search.recognize import Recognition
from aedo.search.transcribe import Transcriber, Transcript
from tests.search.speech import RATE, TOKENIZER, noise, speech, talk, transcriber, write_talk


def shape(found: Transcript) -> list[tuple[str, float, float]]:
    return [(s.text, round(s.start, 2), round(s.end, 2)) for s in found.segments]


def saying(words: Transcriber, labels: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the search find these labels everywhere."""
    best = Hypothesis(labels, -1.0)
    result = Recognition(TOKENIZER.decode(labels), labels, -1.0, (best,))
    monkeypatch.setattr(words.recognizer, "search", lambda encoded: [result] * len(encoded.lengths))


def test_words_come_in_order_with_times_inside_their_utterances() -> None:
    found = transcriber().transcribe(talk())
    assert len(found.segments) == 3
    assert found.seconds == pytest.approx(12.2)
    assert found.text == " ".join(word.text for word in found.words) != ""
    for segment, (start, end) in zip(found.segments, [(1, 3), (4.2, 5.2), (8.2, 11.2)], strict=True):
        assert segment.start == pytest.approx(start - 0.3, abs=0.15)
        assert segment.end == pytest.approx(end + 0.3, abs=0.15)
    for word in found.words:
        assert word.start is not None
        assert word.end is not None
        assert word.confidence is not None
        assert 0.0 <= word.confidence <= 1.0
        assert word.start < word.end
    starts = [word.start or 0.0 for word in found.words]
    assert all(a < b for a, b in pairwise(starts))


def test_files_of_any_rate_and_arrays_are_the_same_recording(tmp_path: Path) -> None:
    words = transcriber()
    path = write_talk(tmp_path / "talk.flac")
    stored = np.round(talk() * 32768).clip(-32768, 32767).astype(np.int16)
    assert shape(words.transcribe(path)) == shape(words.transcribe(str(path))) == shape(words.transcribe(stored))
    stereo = words.transcribe(np.stack([stored, stored], 1), RATE)
    assert shape(stereo) == shape(words.transcribe(path))
    other = words.transcribe(write_talk(tmp_path / "other.wav", 44100))
    assert [s[1:] for s in shape(other)] == [pytest.approx(s[1:], abs=0.1) for s in shape(words.transcribe(path))]


def test_batches_change_nothing_and_stay_within_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, small = transcriber(), transcriber(max_samples=4 * RATE)
    sizes = []
    encode = small.recognizer.encode

    def watched(audio):  # type: ignore[no-untyped-def]
        sizes.append(len(audio) * max(map(len, audio)))
        return encode(audio)

    monkeypatch.setattr(small.recognizer, "encode", watched)
    first, second = whole.transcribe(talk()), small.transcribe(talk())
    assert shape(first) == shape(second)
    assert [w.confidence for w in first.words] == pytest.approx([w.confidence for w in second.words], abs=1e-4)
    assert len(sizes) > 1
    assert max(sizes) <= 4 * RATE


@pytest.mark.parametrize("sound", [np.zeros(20 * RATE, np.float32), noise(20, 1), noise(20, 2, 0.2)])
def test_in_silence_and_noise_nothing_is_said_and_nothing_is_searched(
    sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = transcriber()
    monkeypatch.setattr(words.recognizer, "encode", lambda audio: pytest.fail("the model was asked"))
    found = words.transcribe(sound)
    assert (found.text, found.segments, found.seconds) == ("", (), 20.0)


def test_where_the_ctc_head_hears_nothing_nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    words = transcriber()
    saying(words, (2, 3, 4), monkeypatch)
    assert words.transcribe(talk()).words
    with torch.no_grad():
        head = words.recognizer.model.ctc_heads.of(1)
        head.bias[-1] = 1e6  # type: ignore[index,operator]
    assert words.transcribe(talk()).segments == ()


def test_a_loop_is_reported_and_what_the_ctc_head_hears_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    words = transcriber()
    heard = transcriber(kind="ctc_greedy").transcribe(talk())
    saying(words, (2, 3, 5) * 6, monkeypatch)
    found = words.transcribe(talk())
    assert [s.text for s in found.segments] == [s.text for s in heard.segments]
    assert len(found.doubts) == 3
    assert all("on end" in s.doubt or "labels for" in s.doubt for s in found.doubts)


def test_more_labels_than_sound_are_doubted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    words = transcriber()
    saying(words, tuple(np.random.default_rng(1).integers(2, 5, 400).tolist()), monkeypatch)
    assert "labels for" in words.transcribe(talk()).doubts[0].doubt


def test_a_model_without_ctc_head_gives_words_without_times() -> None:
    words = transcriber(ctc=False)
    found = words.transcribe(talk())
    assert all(w.start is None and w.end is None and w.confidence is not None for w in found.words)


def test_a_model_without_decoder_gives_times_and_confidence() -> None:
    found = transcriber(decoder=False).transcribe(talk())
    assert found.words
    assert all(w.start is not None and w.confidence is not None for w in found.words)


def test_progress_ends_with_the_length() -> None:
    told: list[float] = []
    transcriber().transcribe(talk(), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(12.2)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(0, np.float32), None, "0 samples"),
        (np.full(RATE, np.nan, np.float32), None, "NaN"),
        (np.array(["a"]), None, "must be numbers"),
        (speech(1, 1)[None], None, "give it as"),
        (speech(1, 1), 0, "positive rate"),
        (speech(1, 1), 1, "whole number of samples a second"),
        (speech(1, 1), 16000.5, "whole number of samples a second"),
        (speech(1, 1), float("nan"), "whole number of samples a second"),
        (speech(1, 1), True, "whole number of samples a second"),
        ([[1.0, 2.0], [3.0]], None, "must be numbers"),
        (np.zeros((RATE, 0), np.float32), None, "0 samples"),
    ],
)
def test_samples_that_are_no_sound_are_refused(samples: Any, rate: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        transcriber().transcribe(samples, rate)


def test_a_whole_rate_may_be_a_float() -> None:
    assert shape(transcriber().transcribe(talk(), float(RATE))) == shape(transcriber().transcribe(talk()))


def test_a_file_that_is_no_sound_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    with pytest.raises(UserError, match=r"empty\.wav: audio file has 0 bytes"):
        transcriber().transcribe(path)
    with pytest.raises(UserError, match="knows its own rate"):
        transcriber().transcribe(path, 16000)
