"""The numbers of a run, arranged for reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aedo.report.clips import Budget, Clip, clip
from aedo.report.gather import Run, SetResult
from aedo.score.wer import GAP, Aligned, Confusion

REFERENCE_NAME = "reference (RETURNN, average of 4)"
REFERENCE = {"dev-clean": 2.27, "dev-other": 5.39, "test-clean": 2.41, "test-other": 5.51}
"""WER in percent of the reference system on LibriSpeech, without a language model."""


@dataclass(frozen=True)
class Cell:
    wer: float
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True)
class WerTable:
    sets: list[str]
    rows: list[tuple[str, dict[str, Cell]]]
    """Checkpoint and its cells by set."""
    reference: dict[str, Cell]
    """Empty where no set is one of LibriSpeech's."""
    confidence: float


def wer_table(run: Run) -> WerTable | None:
    """Word error rates by checkpoint and set; None where nothing was recognised."""
    if not run.results:
        return None
    least = {name: min(r.totals["wer"] for r in run.results if r.name == name) for name in run.sets}
    rows = []
    for label in run.labels:
        results = [r for r in run.results if r.label == label]
        rows.append((label, {r.name: cell(r, r.totals["wer"] == least[r.name]) for r in results}))
    known = {name: Cell(REFERENCE[name]) for name in run.sets if name in REFERENCE}
    confidence = next((r.totals["confidence"] for r in run.results if "confidence" in r.totals), 0.95)
    return WerTable(run.sets, rows, known, confidence)


def cell(result: SetResult, best: bool = False) -> Cell:
    """Totals without interval get the one of the utterances, where there are any."""
    low, high = result.totals.get("wer_low"), result.totals.get("wer_high")
    if (low is None or high is None) and result.score is not None:
        low, high = result.score.interval.low, result.score.interval.high
    return Cell(float(result.totals["wer"]), low, high, best)


@dataclass(frozen=True)
class Detail:
    """One set of the checkpoint shown in detail."""

    name: str
    totals: dict[str, Any]
    rates: dict[str, float]
    """Substitutions, deletions, insertions in percent of the words."""
    speed: float | None
    """Seconds of audio decoded per second."""


def details(run: Run) -> list[Detail]:
    """Counts by set of the main checkpoint."""
    found = []
    for result in run.results:
        if result.label != run.main_label:
            continue
        totals = result.totals
        words = totals.get("words") or 1
        kinds = ("substitutions", "deletions", "insertions")
        seconds, audio = totals.get("seconds"), totals.get("audio_seconds")
        speed = audio / seconds if seconds and audio else None
        found.append(Detail(result.name, totals, {k: 100.0 * totals.get(k, 0) / words for k in kinds}, speed))
    return found


@dataclass(frozen=True)
class Errors:
    """The most frequent errors of a checkpoint, all its sets together."""

    confusions: list[Confusion]
    deletions: list[Confusion]
    insertions: list[Confusion]

    def __bool__(self) -> bool:
        return bool(self.confusions or self.deletions or self.insertions)


def frequent_errors(run: Run, most: int = 15) -> Errors:
    counts: dict[tuple[str, str], int] = {}
    for result in run.results:
        if result.label == run.main_label and result.score is not None:
            for c in result.score.confusions():
                counts[c.ref, c.hyp] = counts.get((c.ref, c.hyp), 0) + c.count
    ordered = [Confusion(*pair, n) for pair, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return Errors(
        [c for c in ordered if GAP not in (c.ref, c.hyp)][:most],
        [c for c in ordered if c.hyp == GAP][:most],
        [c for c in ordered if c.ref == GAP][:most],
    )


@dataclass(frozen=True)
class Speaker:
    name: str
    set: str
    words: int
    wer: float


def hardest_speakers(run: Run, most: int = 12) -> list[Speaker]:
    """Speakers by word error rate of the main checkpoint, the worst first; nothing where fewer than two are named."""
    found = [
        Speaker(name, result.name, counts.words, counts.wer)
        for result in run.results
        if result.label == run.main_label and result.score is not None
        for name, counts in result.score.speakers.items()
        if name
    ]
    return sorted(found, key=lambda s: (-s.wer, s.name))[:most] if len(found) > 1 else []


@dataclass(frozen=True)
class Shown:
    """A misrecognised utterance on the page."""

    aligned: Aligned
    line: dict[str, Any]
    clip: Clip

    @property
    def kinds(self) -> str:
        """1 substituted, 2 deleted: kinds of errors that are there."""
        counts = self.aligned.counts
        names = ((counts.substitutions, "substituted"), (counts.deletions, "deleted"), (counts.insertions, "inserted"))
        return ", ".join(f"{number} {name}" for number, name in names if number)

    @property
    def pairs(self) -> list[tuple[str, str, str]]:
        """(kind, reference word, recognised word); kind is ok, sub, del or ins."""
        return [(_kind(ref, hyp), ref, hyp) for ref, hyp in self.aligned.alignment]


def worst(result: SetResult, most: int, budget: Budget) -> list[Shown]:
    """The utterances that cost most errors, with their audio as far as the budget goes."""
    if result.score is None:
        return []
    chosen = result.score.worst(most)
    return [Shown(u, result.lines[u.pair.id], clip(result.lines[u.pair.id], budget)) for u in chosen]


def for_pictures(results: Sequence[SetResult], most: int) -> list[dict[str, Any]]:
    """Lines of SET.jsonl worth a picture: one of middle length without an error, then the worst, set after set."""
    chosen: list[dict[str, Any]] = []
    right = [(result, u) for result in results if result.score for u in result.score.utterances if not u.counts.errors]
    if right and most > 0:
        right.sort(key=lambda item: item[1].counts.words)
        result, utterance = right[len(right) // 2]
        chosen.append(result.lines[utterance.pair.id])
    ranked = [[result.lines[u.pair.id] for u in result.score.worst(most)] for result in results if result.score]
    for rank in range(most):
        chosen += [lines[rank] for lines in ranked if rank < len(lines)]
    return chosen[:most]


def _kind(ref: str, hyp: str) -> str:
    if ref == hyp:
        return "ok"
    return "ins" if ref == GAP else "del" if hyp == GAP else "sub"
