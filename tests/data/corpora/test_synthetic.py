from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aedo.data.corpora.grammar import TEMPLATES, sentence, split_of, vocabulary
from aedo.data.corpora.librispeech import list_librispeech
from aedo.data.corpora.synthetic import (
    Chapter,
    Size,
    Speaker,
    SyntheticOptions,
    Voice,
    _speak_all,
    in_room,
    make_speakers,
    plan,
    write_synthetic,
)
from aedo.data.prepare import prepare
from aedo.errors import UserError

SMALL = SyntheticOptions(
    train=Size(utterances=24), dev=Size(utterances=4), test=Size(utterances=4), speakers=4, seed=3, jobs=2
)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader", reason="the extra `synth` is not installed")
    folder = tmp_path_factory.mktemp("spoken")
    write_synthetic(folder, SMALL)
    return folder


def test_the_grammar_speaks_its_vocabulary_in_short_sentences() -> None:
    random = np.random.default_rng(0)
    texts = [sentence(random) for _ in range(20000)]
    assert {word for text in texts for word in text.split()} == vocabulary()
    assert 300 <= len(vocabulary()) <= 400
    assert all(3 <= len(text.split()) <= 10 for text in texts)
    assert len(set(texts)) > 5000
    assert len(TEMPLATES) == len(set(TEMPLATES))


def test_every_split_owns_sentences_of_its_own() -> None:
    random = np.random.default_rng(0)
    owners = [split_of(sentence(random)) for _ in range(5000)]
    shares = [owners.count(split) / len(owners) for split in ("train", "dev", "test")]
    assert np.allclose(shares, [0.75, 0.1, 0.15], atol=0.04)


@pytest.mark.parametrize("number", [1, 4, 40, 100])
def test_no_voice_is_in_two_splits(number: int) -> None:
    speakers = make_speakers(number, seed=1)
    voices = {split: {s.voice.name for s in speakers if s.split == split} for split in ("train", "dev", "test")}
    assert not voices["train"] & (voices["dev"] | voices["test"])
    assert not voices["dev"] & voices["test"]
    assert len({s.id for s in speakers}) == len(speakers)
    assert sum(s.split == "train" for s in speakers) == number


@pytest.mark.parametrize("number", [0, 10000])
def test_an_impossible_number_of_speakers_is_refused(number: int) -> None:
    with pytest.raises(UserError, match=r"--speakers \d+: give 1 to 1000 training speakers"):
        make_speakers(number, seed=1)


def test_a_plan_says_no_sentence_twice_and_fills_the_hours(tmp_path: Path) -> None:
    options = SyntheticOptions(train=Size(hours=0.5))
    chapters = plan(tmp_path, options, make_speakers(40, 1))
    texts = [text for chapter in chapters for text in chapter.sentences]
    assert len(texts) == len(set(texts))
    assert all(split_of(text) == chapter.speaker.split for chapter in chapters for text in chapter.sentences)
    assert sum(len(c.sentences) for c in chapters if c.speaker.split == "dev") == 60
    assert 700 < sum(len(c.sentences) for c in chapters if c.speaker.split == "train") < 900


def test_more_than_the_grammar_can_say_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aedo.data.corpora.synthetic.sentence", lambda random: f"count to {random.integers(500)}")
    with pytest.raises(UserError, match="the grammar has too few sentences for that much train data"):
        plan(tmp_path, SyntheticOptions(train=Size(hours=1000)), make_speakers(4, 1))


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "0h", "1.5", "h"])
def test_a_size_is_utterances_or_hours(text: str) -> None:
    with pytest.raises(UserError, match="size"):
        Size.parse(text)
    assert Size.parse("1500") == Size(utterances=1500)
    assert Size.parse("1.5h") == Size(hours=1.5)


def test_a_room_adds_pauses_echo_and_noise_and_keeps_the_level() -> None:
    dry = np.zeros(8000, dtype=np.float32)
    dry[4000] = 1.0
    wet = in_room(dry, np.random.default_rng(0))
    assert 8000 < len(wet) < 8000 + 2 * 0.25 * 16000
    assert 0.2 <= np.abs(wet).max() <= 0.9
    click = int(np.abs(wet).argmax())
    assert np.abs(wet[click + 1 : click + 800]).mean() > np.abs(wet[-800:]).mean()  # the echo fades


def test_the_same_seed_gives_the_same_bytes(spoken: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path, SyntheticOptions(**{**vars(SMALL), "jobs": 1}))
    assert files(tmp_path) == files(spoken)


def test_an_engine_that_fails_is_an_error_not_a_hang(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra `synth` is not installed")
    speaker = Speaker("1", "train", Voice("en-us", 50, 50, 150))
    unknown = speaker._replace(voice=speaker.voice._replace(name="no/such"))
    with pytest.raises(UserError, match="espeak-ng has no voice 'no/such'"):
        list(_speak_all([Chapter(tmp_path, unknown, 1, ("hello",), 1)], jobs=2))
    crash = Chapter(tmp_path, speaker._replace(id="not a number"), 7, ("hello",), 1)
    with pytest.raises(UserError, match=r"crashed in chapter 7 of speaker not a number \(en-us\)"):
        list(_speak_all([crash] * 3, jobs=2))


def test_the_corpus_is_prepared_like_librispeech(spoken: Path, tmp_path: Path) -> None:
    listing = list_librispeech(spoken)
    assert (spoken / "train" / "1000" / "1" / "1000-1-0000.flac").exists()
    assert all(item.text == item.text.upper() for item in listing.items)
    card = prepare(listing, tmp_path)
    assert not card.refused
    assert {name: split.utterances for name, split in card.splits.items()} == {"train": 24, "dev": 4, "test": 4}
    for name in ("dev", "test"):
        assert card.splits[name].sentences_of_training == 0
        assert card.splits[name].speakers_of_training == 0


def test_writing_again_leaves_nothing_of_the_earlier_corpus(spoken: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path, SyntheticOptions(**{**vars(SMALL), "train": Size(utterances=30), "speakers": 6}))
    write_synthetic(tmp_path, SMALL)
    assert files(tmp_path) == files(spoken)
