from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from aedo.data.audio import AudioConfig, samples_of
from aedo.data.corpora.listing import Item, Listing
from aedo.data.prepare import PrepareOptions, prepare
from aedo.errors import UserError
from tests.data.sounds import RATE, cut_short, noise, write


def corpus(folder: Path, speakers: int = 3, each: int = 2) -> Listing:
    """Good utterances u-SPEAKER-NUMBER, all different."""
    listing = Listing(source="test corpus")
    for s in range(speakers):
        for i in range(each):
            path = write(folder / f"{s}-{i}.flac", noise(4000 + 100 * i, seed=10 * s + i))
            listing.items.append(Item(f"u-{s}-{i}", path, f"word{i} of speaker", f"s{s}", "train"))
    return listing


def cuts(path: Path) -> CutSet:
    return CutSet.from_jsonl_lazy(path)


def refused(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "refused.jsonl").read_text().splitlines()]


def test_a_split_is_a_lhotse_cut_set_with_text_and_speaker(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in")
    prepare(listing, tmp_path / "out")
    loaded = list(cuts(tmp_path / "out" / "train.jsonl"))
    assert [cut.id for cut in loaded] == [item.id for item in listing.items]
    for cut, item in zip(loaded, listing.items, strict=True):
        (supervision,) = cut.supervisions
        assert (supervision.text, supervision.speaker) == (item.text, item.speaker)
        assert Path(cut.recording.sources[0].source) == item.audio
        expected, _ = soundfile.read(item.audio, dtype="float32")
        assert cut.num_samples == len(expected)
        np.testing.assert_array_equal(samples_of(cut, AudioConfig(peak_normalize=False)), expected)
        np.testing.assert_array_equal(cut.load_audio()[0], expected)


def test_lines_are_written_as_lhotse_writes_them(tmp_path: Path) -> None:
    prepare(corpus(tmp_path / "in"), tmp_path / "out")
    CutSet.from_cuts(cuts(tmp_path / "out" / "train.jsonl")).to_file(tmp_path / "copy.jsonl")
    ours, theirs = ((tmp_path / name).read_text().splitlines() for name in ("out/train.jsonl", "copy.jsonl"))
    assert [json.loads(line) for line in ours] == [json.loads(line) for line in theirs]


def test_the_same_corpus_gives_the_same_bytes_with_any_number_of_processes(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in", speakers=10, each=10)
    for jobs in (1, 2):
        prepare(listing, tmp_path / str(jobs), PrepareOptions(jobs=jobs))
    for path in sorted((tmp_path / "1").iterdir()):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


BAD = [
    ("missing", lambda f: f / "none.flac", "audio file is missing"),
    ("truncated FLAC", lambda f: cut_short(write(f / "t.flac", noise(40000))), "audio is unreadable or truncated: "),
    (
        "truncated Opus",
        lambda f: cut_short(write(f / "t.opus", noise(160000)), 0.9),
        "audio is truncated: the last Ogg",
    ),
    ("8 kHz", lambda f: write(f / "e.wav", noise(), 8000), "audio is 8000 Hz, expected 16000; run aedo prepare with"),
    ("stereo", lambda f: write(f / "s.wav", noise(channels=2)), "audio has 2 channels, expected 1; run aedo prepare"),
    ("NaN", lambda f: write(f / "n.wav", noise() * np.nan, subtype="FLOAT"), "audio has NaN or infinite samples"),
    ("0 samples", lambda f: write(f / "0.wav", noise(0)), "audio has 0 samples"),
    ("silence", lambda f: write(f / "q.wav", noise() * 0), "audio is silent"),
    ("a text file", lambda f: Path(__file__), "audio is unreadable or truncated: "),
]


@pytest.mark.parametrize(("make", "reason"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_audio_is_refused_and_the_rest_is_kept(tmp_path: Path, make, reason: str) -> None:
    listing = corpus(tmp_path / "in")
    listing.items.insert(2, Item("bad", make(tmp_path), "some words", "s1", "train"))
    card = prepare(listing, tmp_path / "out")
    (record,) = refused(tmp_path / "out")
    assert (record["id"], record["split"]) == ("bad", "train")
    assert record["file"] == str(listing.items[2].audio)
    assert record["reason"].startswith(reason)
    assert len(list(cuts(tmp_path / "out" / "train.jsonl"))) == 6
    assert [(group.reason, group.count) for group in card.refused] == [(record["reason"].partition(":")[0], 1)]


@pytest.mark.parametrize(
    ("text", "normalize", "reason"),
    [("", "none", "text is empty"), (" \t", "none", "text is empty"), ("?!", "nopunct", "text is empty after norm")],
)
def test_empty_text_is_refused(tmp_path: Path, text: str, normalize: str, reason: str) -> None:
    listing = corpus(tmp_path / "in")
    listing.items[0] = listing.items[0]._replace(text=text)
    prepare(listing, tmp_path / "out", PrepareOptions(normalize=normalize))
    (record,) = refused(tmp_path / "out")
    assert record["reason"].startswith(reason)


def test_broken_unicode_is_refused(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in")
    listing.items[0] = listing.items[0]._replace(text="half a smile \ud83d")
    listing.items[1] = listing.items[1]._replace(id="caf\udce9", audio=tmp_path / "caf\udce9.wav")
    prepare(listing, tmp_path / "out")
    assert [(r["id"], r["reason"]) for r in refused(tmp_path / "out")] == [
        ("u-0-0", "id, path or text is not valid Unicode"),
        ("caf?", "id, path or text is not valid Unicode"),
    ]


def test_duplicates_are_refused_by_id_and_by_samples(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in")
    first = listing.items[0]
    copy = write(tmp_path / "copy.wav", soundfile.read(first.audio)[0])
    listing.items += [first, Item("other", copy, "other words", "s9", "test")]
    prepare(listing, tmp_path / "out")
    assert [(r["id"], r["reason"]) for r in refused(tmp_path / "out")] == [
        ("u-0-0", "duplicate id: an earlier utterance has it"),
        ("other", "duplicate audio: same samples as u-0-0"),
    ]


def test_what_the_corpus_reader_refused_is_told_too(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in")
    listing.refuse("", "table.csv:12", "corrupt table line: 3 fields, expected 2")
    prepare(listing, tmp_path / "out")
    assert refused(tmp_path / "out") == [
        {"id": "", "file": "table.csv:12", "reason": "corrupt table line: 3 fields, expected 2", "split": ""}
    ]
    assert "* 1 x corrupt table line" in (tmp_path / "out" / "card.md").read_text()


def test_too_many_refused_is_an_error_that_lists_the_reasons(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in")
    for i in range(4):
        path = write(tmp_path / f"{i}.wav", noise(), 8000)
        listing.items.append(Item(f"e{i}", path, "x", "s", "train"))
    for i in range(3):
        listing.items.append(Item(f"m{i}", tmp_path / "none.wav", "x", "s", "train"))
    with pytest.raises(UserError) as caught:
        prepare(listing, tmp_path / "out")
    message = str(caught.value)
    assert "7 of 13 utterances are refused, the limit is 50% (--max-refused)" in message
    assert (
        f"4 x audio is 8000 Hz, expected 16000; run aedo prepare with --resample (first: {tmp_path}/0.wav)" in message
    )
    assert "3 x audio file is missing" in message
    assert len(refused(tmp_path / "out")) == 7
    assert not (tmp_path / "out" / "train.jsonl").exists()
    prepare(listing, tmp_path / "out", PrepareOptions(max_refused=0.6))


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (16000, 2)])
def test_resampling_writes_mono_flac_at_the_rate(tmp_path: Path, rate: int, channels: int) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    path = write(tmp_path / "a.wav", np.stack([tone] * channels, axis=1), rate)
    listing = corpus(tmp_path / "in")
    listing.items.append(Item("päth/to it", path, "tone", "s", "train"))
    prepare(listing, tmp_path / "out", PrepareOptions(resample=True))
    *others, cut = cuts(tmp_path / "out" / "train.jsonl")
    source = Path(cut.recording.sources[0].source)
    assert source == tmp_path / "out" / "audio" / "train" / "päth%2fto%20it.flac"
    samples = samples_of(cut, AudioConfig(peak_normalize=False))
    assert samples.shape == (RATE,)
    assert np.abs(np.fft.rfft(samples)).argmax() == 440
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.01)
    assert all("audio/train" not in o.recording.sources[0].source for o in others)  # good files stay where they are


def test_channels_in_opposite_phase_are_silent_once_mixed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.stack([noise(), -noise()], axis=1), subtype="FLOAT")
    listing = corpus(tmp_path / "in")
    listing.items.append(Item("phase", path, "x", "s", "train"))
    prepare(listing, tmp_path / "out", PrepareOptions(resample=True))
    assert refused(tmp_path / "out")[0]["reason"] == "audio is silent"


def test_preparing_again_replaces_and_another_corpus_is_refused(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in")
    prepare(listing, tmp_path / "out", PrepareOptions(dev_speakers="1"))
    prepare(listing, tmp_path / "out", PrepareOptions(dev_speakers="2"))
    assert len(list(cuts(tmp_path / "out" / "dev.jsonl"))) == 4
    with pytest.raises(UserError, match="holds split 'dev' of an earlier preparation"):
        prepare(listing, tmp_path / "out")


def test_a_split_that_is_wholly_refused_leaves_no_file_and_a_note(tmp_path: Path) -> None:
    listing = corpus(tmp_path / "in")
    listing.items.append(Item("t", tmp_path / "none.flac", "x", "s", "test"))
    card = prepare(listing, tmp_path / "out")
    assert list(card.splits) == ["train"]
    assert card.notes == ("split test is empty: all of it is refused",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PrepareOptions(normalize="upper,what"), "unknown step 'what'"),
        (PrepareOptions(dev_speakers="1", dev_fraction=0.1), "exclude each other"),
        (PrepareOptions(dev_speakers="3"), "training data has 3 known speakers; hold out 1 to 2"),
        (PrepareOptions(dev_speakers="bob"), "no training speaker 'bob'; there are s0, s1, s2"),
        (PrepareOptions(dev_fraction=0.01), "0 of 6 training utterances"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, options: PrepareOptions, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(corpus(tmp_path / "in"), tmp_path / "out", options)


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder x: no utterances found"):
        prepare(Listing("folder x"), tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/out: cannot write the prepared data there"):
        prepare(corpus(tmp_path / "in"), tmp_path / "file" / "out")


def test_progress_counts_every_utterance(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare(corpus(tmp_path / "in"), tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]
