"""Transcripts and alignments as files: text, JSON, subtitles (SubRip, WebVTT), CTM, Praat's TextGrid."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aedo.errors import UserError
from aedo.search.transcribe import Segment, Transcript
from aedo.search.words import Word

_LINE = 42
"""Characters of a subtitle line; a subtitle has two."""
_LONGEST = 7.0
"""Seconds a subtitle stays at most."""
_GAP = 1.0
"""Seconds of silence that end a subtitle."""


class _Cue(NamedTuple):
    start: float
    end: float
    words: list[str]


def as_text(name: str, transcript: Transcript) -> str:
    return f"{transcript.text}\n"


def as_json(name: str, transcript: Transcript) -> str:
    """One line: file, text, seconds, calibrated, segments with start, end, text, score and words; doubt where any."""
    content = {
        "file": name,
        "text": transcript.text,
        "seconds": round(transcript.seconds, 3),
        "calibrated": transcript.calibrated,
        "segments": [_segment(segment) for segment in transcript.segments],
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def as_srt(name: str, transcript: Transcript) -> str:
    blocks = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_two_lines(cue.words)}\n"
        for number, cue in enumerate(_cues(transcript), 1)
    ]
    return "\n".join(blocks)


def as_vtt(name: str, transcript: Transcript) -> str:
    blocks = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(_two_lines(cue.words))}\n"
        for cue in _cues(transcript)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


TRANSCRIPTS: dict[str, Callable[[str, Transcript], str]] = {
    "txt": as_text,
    "json": as_json,
    "srt": as_srt,
    "vtt": as_vtt,
}


class AlignedText(NamedTuple):
    """Words of a given text where they lie in an utterance."""

    id: str
    words: tuple[Word, ...]
    seconds: float
    """Length of the utterance."""
    score: float
    """Mean log probability of its frames."""


def aligned_as_json(texts: Sequence[AlignedText]) -> str:
    """One line an utterance: id, seconds, score, words with start and end."""
    return "".join(
        json.dumps(
            {
                "id": text.id,
                "seconds": round(text.seconds, 3),
                "score": round(text.score, 5),
                "words": [_word(word) for word in text.words],
            },
            ensure_ascii=False,
        )
        + "\n"
        for text in texts
    )


def aligned_as_ctm(texts: Sequence[AlignedText]) -> str:
    """NIST CTM: utterance, channel, start, duration, word."""
    return "".join(
        f"{text.id} 1 {word.start:.3f} {(word.end or 0.0) - word.start:.3f} {word.text}\n"
        for text in texts
        for word in text.words
        if word.start is not None
    )


def aligned_as_textgrid(texts: Sequence[AlignedText]) -> str:
    """Praat's TextGrid with one tier `words`, of a single utterance."""
    if len(texts) != 1:
        raise UserError(f"a TextGrid holds one utterance, not {len(texts)}; give --out FOLDER, or --format ctm")
    (text,) = texts
    intervals: list[tuple[float, float, str]] = []
    there = 0.0
    for word in text.words:
        start, end = word.start or 0.0, word.end or 0.0
        if start > there:
            intervals.append((there, start, ""))
        intervals.append((start, end, word.text.replace('"', '""')))
        there = end
    if text.seconds > there:
        intervals.append((there, text.seconds, ""))
    span = f"xmin = 0\n{{0}}xmax = {text.seconds:.3f}\n"
    lines = ['File type = "ooTextFile"\nObject class = "TextGrid"\n\n', span.format(""), "tiers? <exists>\nsize = 1\n"]
    lines += ['item []:\n    item [1]:\n        class = "IntervalTier"\n        name = "words"\n        ']
    lines += [span.format(" " * 8), f"        intervals: size = {len(intervals)}\n"]
    lines += [
        f'        intervals [{i}]:\n            xmin = {a:.3f}\n            xmax = {b:.3f}\n            text = "{w}"\n'
        for i, (a, b, w) in enumerate(intervals, 1)
    ]
    return "".join(lines)


ALIGNMENTS: dict[str, Callable[[Sequence[AlignedText]], str]] = {
    "json": aligned_as_json,
    "ctm": aligned_as_ctm,
    "textgrid": aligned_as_textgrid,
}


def _word(word: Word) -> dict[str, object]:
    found: dict[str, object] = {"word": word.text}
    for name, value in (("start", word.start), ("end", word.end), ("confidence", word.confidence)):
        if value is not None:
            found[name] = round(value, 3)
    return found


def _segment(segment: Segment) -> dict[str, object]:
    content: dict[str, object] = {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "score": round(segment.score, 5),
        "words": [_word(word) for word in segment.words],
    }
    return {**content, "doubt": segment.doubt} if segment.doubt else content


def _cues(transcript: Transcript) -> list[_Cue]:
    """Words of each segment in groups that fit on a screen; those without times share their segment's."""
    cues: list[_Cue] = []
    for segment in transcript.segments:
        group: list[Word] = []
        for word in segment.words:
            if group and _full([*group, word]):
                cues.append(_cue(group, segment))
                group = []
            group.append(word)
        if group:
            cues.append(_cue(group, segment))
    return cues


def _full(group: Sequence[Word]) -> bool:
    first, before, last = group[0], group[-2], group[-1]
    if first.start is None or before.end is None or last.start is None or last.end is None:
        return False  # nothing tells where one would be cut
    wide = len(_two_lines([word.text for word in group]).split("\n")) > 2
    return wide or last.end - first.start > _LONGEST or last.start - before.end > _GAP


def _cue(group: Sequence[Word], segment: Segment) -> _Cue:
    first, last = group[0].start, group[-1].end
    return _Cue(
        segment.start if first is None else first, segment.end if last is None else last, [w.text for w in group]
    )


def _two_lines(words: Sequence[str]) -> str:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > _LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"
