"""The data card: what a prepared folder holds, in numbers (card.json) and for reading (card.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aedo.data.corpora.listing import UNKNOWN_SPEAKER, Listing, Refused
from aedo.data.splits import is_train

_BAR = 40
_EXAMPLES = 5
DURATION_EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0, 25.0, 30.0, 60.0)
WORD_EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 100.0)
CHARACTER_EDGES = (0.0, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 600.0)


class Utterance(NamedTuple):
    """One utterance that passed every check."""

    id: str
    audio: Path
    text: str
    speaker: str
    split: str
    num_samples: int


@dataclass(frozen=True)
class Histogram:
    """Counts of values in [edge i, edge i + 1); the last bin is open."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @staticmethod
    def of(values: Sequence[float], edges: tuple[float, ...]) -> Histogram:
        bins = np.searchsorted(np.asarray(edges), np.asarray(values), side="right") - 1
        return Histogram(edges, tuple(int(n) for n in np.bincount(bins, minlength=len(edges))))

    def lines(self, unit: str) -> Iterable[str]:
        """One line a bin, from the first to the last that holds something."""
        used = [i for i, count in enumerate(self.counts) if count]
        for i in range(used[0], used[-1] + 1) if used else ():
            upper = f"{self.edges[i + 1]:g}" if i + 1 < len(self.edges) else ""
            bar = "#" * round(_BAR * self.counts[i] / max(self.counts))
            yield f"{f'{self.edges[i]:g} - {upper}':>12} {unit} {self.counts[i]:>8}  {bar}".rstrip()


@dataclass(frozen=True)
class SplitCard:
    """Numbers of one split."""

    utterances: int
    hours: float
    speakers: int | None
    """Distinct speakers; None when no utterance names one."""
    words: int
    distinct_words: int
    unseen_words: int | None
    """Distinct words that no training text holds; None for training splits."""
    sentences_of_training: int | None
    """Utterances whose text is also a training text; None for training splits."""
    speakers_of_training: int | None
    """Speakers that are also in training splits; None for training splits."""
    shortest: float
    median: float
    mean: float
    longest: float
    """Durations in seconds, like the three above."""
    durations: Histogram
    """In seconds."""
    word_lengths: Histogram
    """Words an utterance."""
    character_lengths: Histogram
    """Characters an utterance, blanks included."""

    @staticmethod
    def of(utterances: Sequence[Utterance], training: Sequence[Utterance] | None, rate: int) -> SplitCard:
        """`training`: what to compare with, None if this is a training split."""
        seconds = np.asarray([u.num_samples for u in utterances]) / rate
        words = Counter(word for u in utterances for word in u.text.split())
        speakers = {u.speaker for u in utterances} - {UNKNOWN_SPEAKER}
        known = None if training is None else {word for u in training for word in u.text.split()}
        texts = None if training is None else {u.text for u in training}
        return SplitCard(
            utterances=len(utterances),
            hours=round(float(seconds.sum()) / 3600, 4),
            speakers=len(speakers) or None,
            words=words.total(),
            distinct_words=len(words),
            unseen_words=None if known is None else len(words.keys() - known),
            sentences_of_training=None if texts is None else sum(u.text in texts for u in utterances),
            speakers_of_training=None if training is None else len(speakers & {u.speaker for u in training}),
            shortest=round(float(seconds.min()), 3),
            median=round(float(np.median(seconds)), 3),
            mean=round(float(seconds.mean()), 3),
            longest=round(float(seconds.max()), 3),
            durations=Histogram.of(seconds.tolist(), DURATION_EDGES),
            word_lengths=Histogram.of([len(u.text.split()) for u in utterances], WORD_EDGES),
            character_lengths=Histogram.of([len(u.text) for u in utterances], CHARACTER_EDGES),
        )


@dataclass(frozen=True)
class RefusedGroup:
    """Utterances refused for one reason."""

    reason: str
    count: int
    examples: tuple[str, ...]
    """Ids and reasons in full of the first few; refused.jsonl has all."""


@dataclass(frozen=True)
class DataCard:
    source: str
    sample_rate: int
    normalize: str
    notes: tuple[str, ...]
    splits: dict[str, SplitCard]
    characters: dict[str, int]
    """How often each character occurs in all texts."""
    refused: tuple[RefusedGroup, ...]

    @staticmethod
    def of(
        listing: Listing, utterances: Sequence[Utterance], refused: Sequence[Refused], normalize: str, sample_rate: int
    ) -> DataCard:
        by_split: dict[str, list[Utterance]] = {}
        for u in utterances:
            by_split.setdefault(u.split, []).append(u)
        training = [u for u in utterances if is_train(u.split)]
        splits = {
            split: SplitCard.of(by_split[split], None if is_train(split) or not training else training, sample_rate)
            for split in sorted(by_split)
        }
        characters = Counter(character for u in utterances for character in u.text)
        groups = tuple(
            RefusedGroup(
                kind, count, tuple(f"{r.id or r.file}: {r.reason}" for r in refused if r.kind == kind)[:_EXAMPLES]
            )
            for kind, count in Counter(r.kind for r in refused).most_common()
        )
        notes = tuple(listing.notes)
        return DataCard(listing.source, sample_rate, normalize, notes, splits, dict(sorted(characters.items())), groups)

    def to_json(self) -> dict[str, Any]:
        return {"format": 1, **asdict(self)}

    def to_markdown(self) -> str:
        lines = [
            "# Data card",
            "",
            f"Source: {self.source}. Audio: {self.sample_rate} Hz mono. Text normalisation: {self.normalize}.",
            "",
            *(f"* {note}" for note in self.notes),
            *([""] if self.notes else []),
            *_split_table(self.splits),
            "",
            f"Characters used ({len(self.characters)}), most frequent first: "
            + " ".join(f"`{c}`" for c, _ in sorted(self.characters.items(), key=lambda pair: -pair[1])),
            "",
            "## Refused",
            "",
            *self._refused_lines(),
        ]
        for name, split in self.splits.items():
            lines += ["", f"## {name}", "", "```", "duration", *split.durations.lines("s")]
            lines += ["", "words an utterance", *split.word_lengths.lines(" ")]
            lines += ["", "characters an utterance", *split.character_lengths.lines(" "), "```"]
        return "\n".join(lines) + "\n"

    def _refused_lines(self) -> Iterable[str]:
        if not self.refused:
            yield "Nothing."
        for group in self.refused:
            yield f"* {group.count} x {group.reason}"
            yield from (f"  * {example}" for example in group.examples)
        if self.refused:
            yield from ("", "All of them: refused.jsonl.")


def _split_table(splits: dict[str, SplitCard]) -> Iterable[str]:
    yield (
        "| split | utterances | hours | speakers | shortest / median / mean / longest (s) | words | distinct | unseen "
        "words | sentences of training | speakers of training |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name, s in splits.items():
        compared = (s.unseen_words, s.sentences_of_training, s.speakers_of_training)
        cells: list[Any] = [name, s.utterances, f"{s.hours:.2f}", "unknown" if s.speakers is None else s.speakers]
        cells += [f"{s.shortest:.1f} / {s.median:.1f} / {s.mean:.1f} / {s.longest:.1f}", s.words, s.distinct_words]
        cells += ["" if value is None else value for value in compared]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"
