from __future__ import annotations

import json
from pathlib import Path

from aedo.data.card import DataCard, Histogram, Utterance
from aedo.data.corpora.listing import Listing, Refused

RATE = 16000


def utterance(split: str, speaker: str, text: str, seconds: float) -> Utterance:
    return Utterance(f"{split}-{text}", Path("x.flac"), text, speaker, split, int(seconds * RATE))


CARD = DataCard.of(
    Listing("test", notes=["columns not used: age"]),
    [
        utterance("train", "a", "ONE TWO", 2.0),
        utterance("train", "b", "TWO THREE FOUR", 4.0),
        utterance("dev", "b", "ONE TWO", 1.5),
        utterance("dev", "c", "FIVE", 0.5),
        utterance("test", "unknown", "ONE", 3.0),
    ],
    [
        Refused("r1", "f1", "audio is silent"),
        Refused("r2", "f2", "text is empty"),
        Refused("r3", "f3", "audio is silent"),
    ],
    "upper",
    RATE,
)


def test_a_split_is_counted() -> None:
    train = CARD.splits["train"]
    assert (train.utterances, train.speakers, train.words, train.distinct_words) == (2, 2, 5, 4)
    assert (train.shortest, train.median, train.mean, train.longest) == (2.0, 3.0, 3.0, 4.0)
    assert train.hours == round(6 / 3600, 4)


def test_a_held_out_split_is_compared_with_training() -> None:
    dev = CARD.splits["dev"]
    assert (dev.unseen_words, dev.sentences_of_training, dev.speakers_of_training) == (1, 1, 1)
    assert CARD.splits["train"].unseen_words is None
    assert CARD.splits["test"].speakers is None


def test_refusals_are_grouped_most_frequent_first() -> None:
    assert [(g.reason, g.count) for g in CARD.refused] == [("audio is silent", 2), ("text is empty", 1)]


def test_characters_are_counted() -> None:
    assert CARD.characters["W"] == 3
    assert sum(CARD.characters.values()) == sum(len(t) for t in ("ONE TWO", "TWO THREE FOUR", "ONE TWO", "FIVE", "ONE"))


def test_json_holds_everything_and_markdown_reads_well() -> None:
    content = json.loads(json.dumps(CARD.to_json()))
    assert content["splits"]["dev"]["durations"]["counts"][:3] == [1, 1, 0]
    page = CARD.to_markdown()
    for line in (
        "| dev | 2 | 0.00 | 2 | 0.5 / 1.0 / 1.0 / 1.5 | 3 | 3 | 1 | 1 | 1 |",
        "| test | 1 | 0.00 | unknown | 3.0 / 3.0 / 3.0 / 3.0 | 1 | 1 | 0 | 0 | 0 |",
        "* 2 x audio is silent",
        "  * r1: audio is silent",
        "* columns not used: age",
    ):
        assert line in page.splitlines()


def test_a_histogram_has_an_open_last_bin() -> None:
    histogram = Histogram.of([0.0, 0.9, 1.0, 5.0, 99.0], (0.0, 1.0, 5.0))
    assert histogram.counts == (2, 1, 2)
    assert [line.split()[-2] for line in histogram.lines("s")] == ["2", "1", "2"]
    assert list(Histogram.of([], (0.0, 1.0)).lines("s")) == []
