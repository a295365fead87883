"""Files as their readers expect them, to the letter."""

from __future__ import annotations

import json

import pytest

from aedo.errors import UserError
from aedo.search.formats import (
    AlignedText,
    aligned_as_ctm,
    aligned_as_json,
    aligned_as_textgrid,
    as_json,
    as_srt,
    as_text,
    as_vtt,
)
from aedo.search.transcribe import Segment, Transcript
from aedo.search.words import Word


def said(text: str, start: float, *, doubt: str = "", step: float = 0.5) -> Segment:
    words = [Word(w, start + i * step, start + i * step + 0.25, 0.9) for i, w in enumerate(text.split())]
    return Segment(start - 0.3, start + len(words) * step, tuple(words), -0.5, doubt)


TRANSCRIPT = Transcript((said("GO <ON>", 1.0), said("NOW", 3661.5, doubt="'X' 9 times on end")), 4000.0, True)


def test_text() -> None:
    assert as_text("a.wav", TRANSCRIPT) == "GO <ON> NOW\n"
    assert as_text("a.wav", Transcript((), 1.0, False)) == "\n"


def test_json_has_words_with_times_and_confidence() -> None:
    line = as_json("a.wav", TRANSCRIPT)
    assert line.endswith("\n")
    found = json.loads(line)
    assert (found["file"], found["text"], found["seconds"], found["calibrated"]) == ("a.wav", "GO <ON> NOW", 4000, True)
    first, second = found["segments"]
    assert first["words"][1] == {"word": "<ON>", "start": 1.5, "end": 1.75, "confidence": 0.9}
    assert "doubt" not in first
    assert second["doubt"] == "'X' 9 times on end"


def test_subrip() -> None:
    assert as_srt("a.wav", TRANSCRIPT) == (
        "1\n00:00:01,000 --> 00:00:01,750\nGO <ON>\n\n2\n01:01:01,500 --> 01:01:01,750\nNOW\n"
    )
    assert as_srt("a.wav", Transcript((), 1.0, False)) == ""


def test_webvtt_escapes_what_would_be_markup() -> None:
    assert as_vtt("a.wav", TRANSCRIPT) == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:01.750\nGO &lt;ON&gt;\n\n01:01:01.500 --> 01:01:01.750\nNOW\n"
    )


def test_subtitles_are_of_two_lines_and_seven_seconds_at_most() -> None:
    long = Transcript((said("SEVENTEEN " * 60, 1.0, step=0.3),), 30.0, False)
    blocks = as_srt("a.wav", long).strip().split("\n\n")
    assert sum(block.count("SEVENTEEN") for block in blocks) == 60
    for block in blocks:
        _, _, *lines = block.split("\n")
        assert len(lines) <= 2
        assert all(len(line) <= 42 for line in lines)
    slow = Transcript((said("A B C D E F", 0.0, step=2.0),), 30.0, False)
    assert as_srt("a.wav", slow).count("-->") == 6  # each gap is longer than a second


def test_words_without_times_share_those_of_their_segment() -> None:
    segment = Segment(2.0, 5.0, (Word("A", None, None, 0.5), Word("B", None, None, 0.5)), 0.0)
    assert "00:00:02,000 --> 00:00:05,000\nA B\n" in as_srt("a.wav", Transcript((segment,), 9.0, False))


ALIGNED = AlignedText("utt-1", (Word("GO", 0.12, 0.36, None), Word('"ON"', 0.36, 0.6, None)), 1.0, -0.25)


def test_ctm_and_json_of_alignments() -> None:
    assert aligned_as_ctm([ALIGNED]) == 'utt-1 1 0.120 0.240 GO\nutt-1 1 0.360 0.240 "ON"\n'
    assert json.loads(aligned_as_json([ALIGNED])) == {
        "id": "utt-1",
        "seconds": 1.0,
        "score": -0.25,
        "words": [{"word": "GO", "start": 0.12, "end": 0.36}, {"word": '"ON"', "start": 0.36, "end": 0.6}],
    }


def test_a_textgrid_covers_its_utterance_without_a_hole() -> None:
    text = aligned_as_textgrid([ALIGNED])
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1.000\n')
    assert "intervals: size = 4\n" in text
    assert 'text = """ON"""\n' in text
    edges = [float(line.split("=")[1]) for line in text.splitlines() if line.startswith("            x")]
    assert edges == [0.0, 0.12, 0.12, 0.36, 0.36, 0.6, 0.6, 1.0]
    with pytest.raises(UserError, match="one utterance, not 2"):
        aligned_as_textgrid([ALIGNED, ALIGNED])
