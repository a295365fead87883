from __future__ import annotations

import hashlib
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from aedo.augment.labels import LongestMatchSampling, SamplingConfig, UnigramSampling, draw_labels
from aedo.data.bpe import BpeTokenizer
from aedo.data.loader import Loaded, Loader
from aedo.data.manifest import Manifest, ManifestFile
from aedo.data.text import CharTokenizer, Tokenizer, TokenizerConfig, train_tokenizer
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.schedule import START, PiecewiseLinear, Progress
from tests.data.folders import cut_line, write_corpus, write_manifest
from tests.data.sounds import cut_short, noise, write

TOKENIZER = CharTokenizer("ABCD ")
TEXTS = [["A", "AB", "BC D", "ABCD", "D C"][i % 5] for i in range(40)]
TINY = Experiment().with_("loader.workers", 0).with_("batch.max_samples", 100_000).with_("order.bin_size", 10)


def frames(samples: Tensor) -> Tensor:
    """As the reference's front-end: a sixth of the log-mel frames."""
    return ((samples - 400) // 160 + 6) // 6


def loader(manifest: Manifest, experiment: Experiment = TINY, **options: Any) -> Loader:
    return Loader(
        manifest, TOKENIZER, experiment.reading(), **{"seed": 1, "frames": frames, "training": True, **options}
    )


def fingerprint(loaded: Loaded) -> tuple[Any, ...]:
    """Everything in it but the time it took, down to the last bit."""
    if loaded.batch is None:
        return (None, loaded.bad)
    ids, *tensors = astuple(loaded.batch)
    return (ids, *((t.dtype, t.shape, hashlib.sha256(t.numpy().tobytes()).digest()) for t in tensors), loaded.bad)


def epoch(source: Loader, number: int = 1, start: int = 0) -> list[tuple[Any, ...]]:
    return [fingerprint(loaded) for loaded in source.batches(number, START, start)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("data")
    write_corpus(folder, TEXTS)
    return Manifest.open(folder, "train")


@pytest.fixture
def faulty(tmp_path: Path) -> Manifest:
    """Ten good utterances and one of each kind of bad ones."""
    write_corpus(tmp_path, ["AB"] * 10, "train-good")
    audio = tmp_path / "audio"
    silent = write(audio / "silent.flac", np.zeros(16000, np.float32))
    cut = cut_short(write(audio / "cut.flac", noise(16000)))
    good = write(audio / "good.flac", noise(16000))
    eight = write(audio / "eight.wav", noise(16000), rate=8000)
    lines = [
        cut_line("missing", audio / "nowhere.flac", 16000, "AB"),
        cut_line("truncated", cut, 16000, "AB"),
        cut_line("silent", silent, 16000, "AB"),
        cut_line("slow-rate", eight, 16000, "AB"),
        cut_line("empty-text", good, 16000, " "),
        cut_line("no-text", good, 16000, None),
        cut_line("crowded", good, 16000, "AABB" * 3 + "ABCD"),  # 16 labels and 6 pairs, 16 or 18 frames
        cut_line("long-text", good, 16000, "ABCD " * 20 + "A"),
        cut_line("instant", write(audio / "instant.flac", noise(300)), 300, "A"),
    ]
    write_manifest(tmp_path, "train-worse", lines)
    return Manifest.open(tmp_path, "train")


def test_batches_hold_what_the_files_say(corpus: Manifest) -> None:
    source = loader(corpus, TINY.with_("augment.speed", None))
    plan = source.plan(1, START)
    read = list(source.batches(1, START))
    assert sorted(i for batch in plan for i in batch.tolist()) == list(range(len(TEXTS)))
    for numbers, loaded in zip(plan, read, strict=True):
        batch = loaded.batch
        assert batch is not None
        assert loaded.bad == ()
        assert loaded.wait >= 0
        assert batch.ids == tuple(corpus.cut(i).id for i in numbers)
        assert batch.audio_lengths.tolist() == corpus.num_samples[numbers].tolist()
        assert batch.audio.shape == (len(numbers), int(batch.audio_lengths.max()))
        assert batch.audio.dtype == torch.float32
        for row, length, ids, count, i in zip(
            batch.audio, batch.audio_lengths, batch.labels, batch.label_lengths, numbers.tolist(), strict=True
        ):
            assert row[:length].abs().max() == 1  # peak-normalised
            assert not row[length:].any()
            assert TOKENIZER.decode(ids[:count].tolist()) == TEXTS[i]
            assert not ids[count:].any()


KINDS = {
    "laplace": TINY,
    "bucket": TINY.with_("order.kind", "bucket").with_("order.buckets", 4),
    "fixed": TINY.with_("order.kind", "fixed").with_("batch.count_labels", True),
    "every speed": TINY.with_("order.kind", "fixed").with_("augment.speed.every", True),
}


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_whatever_the_workers(faulty: Manifest, workers: int) -> None:
    experiment = TINY.with_("loader.max_bad_fraction", 1.0)
    alone = loader(faulty, experiment)
    helped = loader(faulty, experiment.with_("loader.workers", workers).with_("loader.prefetch", workers))
    assert epoch(helped) == epoch(alone)
    # Left in the middle, the workers still hold batches of that epoch: these must not turn up in the next one.
    for _ in zip(range(2), helped.batches(1, START)):
        pass
    assert epoch(helped, 2) == epoch(alone, 2)
    assert epoch(helped, 2, start=1) == epoch(alone, 2)[1:]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 5), st.integers(1, 8), st.integers(20_000, 300_000), st.integers(1, 9), st.integers(1, 3),
    st.sampled_from(["laplace", "random", "sorted", "bucket", "fixed"]), st.integers(0, 2),
)  # fmt: skip
def test_plans_are_pure_complete_and_within_budget(
    corpus: Manifest, seed: int, number: int, budget: int, most: int, partition: int, kind: str, rank: int
) -> None:
    experiment = TINY.with_("batch.max_samples", budget).with_("batch.max_utterances", most)
    experiment = experiment.with_("order.partition", partition).with_("order.kind", kind)

    def source() -> Loader:
        return loader(corpus, experiment, seed=seed, rank=rank, world=3)

    parts = range((number - 1) * partition + 1, number * partition + 1)
    plans = [source().plan(part, START) for part in parts]
    assert sorted(i for plan in plans for batch in plan for i in batch.tolist()) == list(range(len(corpus)))
    other = source()
    other.plan(99, START)  # whatever was asked before
    assert [[b.tolist() for b in other.plan(part, START)] for part in parts] == [[b.tolist() for b in p] for p in plans]
    for batch in plans[0]:
        longest = corpus.num_samples[batch].max() * 1.1 + 1  # no longer than this after speed perturbation
        assert len(batch) <= most
        assert len(batch) == 1 or len(batch) * longest / 1.1 * 0.9 <= budget + len(batch)


def test_the_budget_holds_for_perturbed_lengths(corpus: Manifest) -> None:
    source = loader(corpus)
    changed = 0
    for numbers, loaded in zip(source.plan(3, START), source.batches(3, START), strict=True):
        assert loaded.batch is not None
        assert loaded.batch.audio.numel() <= 100_000
        ratios = loaded.batch.audio_lengths.numpy() / corpus.num_samples[numbers]
        assert all(min(abs(ratio - factor) for factor in (0.9, 1.0, 1.1)) < 1e-3 for ratio in ratios)
        changed += int((abs(ratios - 1) > 0.05).sum())
    assert changed > 10


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_at_a_batch_gives_the_tail_with_and_without_workers(corpus: Manifest, kind: str) -> None:
    whole = epoch(loader(corpus, KINDS[kind]), 2)
    for start in (0, 1, len(whole) - 1, len(whole)):
        assert epoch(loader(corpus, KINDS[kind]), 2, start) == whole[start:]
    assert epoch(loader(corpus, KINDS[kind].with_("loader.workers", 1)), 2, 1) == whole[1:]


def test_every_speed_reads_every_utterance_at_every_speed(corpus: Manifest) -> None:
    source, seen = loader(corpus, KINDS["every speed"]), []
    for numbers, loaded in zip(source.plan(1, START), source.batches(1, START), strict=True):
        assert loaded.batch is not None
        assert loaded.batch.audio.numel() <= 100_000
        ratios = loaded.batch.audio_lengths.numpy() / corpus.num_samples[numbers]
        seen += [(name, round(float(ratio), 2)) for name, ratio in zip(loaded.batch.ids, ratios)]
    assert sorted(seen) == sorted((corpus.id(i), speed) for i in range(len(corpus)) for speed in (0.9, 1.0, 1.1))


def test_a_scheduled_budget_is_taken_at_the_start_of_the_epoch(corpus: Manifest) -> None:
    budget = PiecewiseLinear(unit="epoch", nodes=(0, 1), values=(30_000, 300_000))
    source = loader(corpus, TINY.with_("batch.max_samples", budget))
    assert len(source.plan(1, START)) > 2 * len(source.plan(2, Progress(5, 5, 1.0, 0.5)))


def test_evaluation_goes_from_long_to_short_unperturbed_and_always_alike(corpus: Manifest) -> None:
    chosen = np.array([7, 3, 30, 12])
    source = loader(corpus, TINY.with_("order.short_first_epochs", 9), training=False, indices=chosen)
    assert [i for batch in source.plan(1, START) for i in batch.tolist()] == [30, 12, 7, 3]
    assert epoch(source, 1) == epoch(source, 2)
    lengths = [n for loaded in source.batches(1, START) for n in loaded.batch.audio_lengths.tolist()]  # type: ignore[union-attr]
    assert lengths == corpus.num_samples[[30, 12, 7, 3]].tolist()


def test_only_the_utterances_chosen_are_trained_on(corpus: Manifest) -> None:
    source = loader(corpus, indices=np.array([5, 9, 2]))
    assert sorted(i for batch in source.plan(1, START) for i in batch.tolist()) == [2, 5, 9]


def test_ranks_take_different_orders_of_the_same_utterances(corpus: Manifest) -> None:
    one, two = (loader(corpus, rank=rank, world=2).plan(1, START) for rank in (0, 1))
    assert [b.tolist() for b in one] != [b.tolist() for b in two]
    with pytest.raises(ValueError, match="rank 2 of 2"):
        loader(corpus, rank=2, world=2)


def test_unusable_utterances_are_named_with_their_reason(faulty: Manifest) -> None:
    experiment = TINY.with_("loader.max_bad_fraction", 1.0).with_("augment.speed", None)
    reasons: dict[str, str] = {}
    good = 0
    for loaded in loader(faulty, experiment).batches(1, START):
        good += 0 if loaded.batch is None else len(loaded.batch.ids)
        reasons.update({bad.id: bad.reason for bad in loaded.bad})
    assert good == 10
    audio = faulty.files[0].path.parent / "audio"
    assert reasons.pop("truncated").startswith(f"{audio / 'cut.flac'}: audio is ")
    assert reasons == {
        "missing": f"{audio / 'nowhere.flac'}: audio file is missing",
        "silent": f"{audio / 'silent.flac'}: audio is silent",
        "slow-rate": f"{audio / 'eight.wav'}: audio is 8000 Hz, expected 16000; run aedo prepare with --resample",
        "empty-text": "text is empty",
        "no-text": "text is empty",
        "crowded": "16 labels need 22 CTC frames, the audio gives 17",
        "long-text": "102 labels with EOS, batch.max_labels is 75",
        "instant": "audio is too short: no encoder frame",
    }


def test_positions_count_where_nothing_is_usable(faulty: Manifest) -> None:
    experiment = TINY.with_("loader.max_bad_fraction", 1.0).with_("batch.max_utterances", 1)
    source = loader(faulty, experiment)
    read = list(source.batches(1, START))
    assert len(read) == len(source.plan(1, START)) == 18  # all but the one left out
    assert sum(loaded.batch is None for loaded in read) == 8
    assert sum(len(loaded.bad) for loaded in read) == 9
    assert epoch(source, 1, start=7) == [fingerprint(loaded) for loaded in read[7:]]


def pieces(folder: Path, kind: str = "unigram") -> Tokenizer:
    config = TokenizerConfig.model_validate({"kind": kind, "size": 12})
    return train_tokenizer(config, ["ABCD", "ABC", "AB", "CD", "BCD", "A", "D C"] * 4, folder)


def drawn(corpus: Manifest, tokenizer: Tokenizer, config: SamplingConfig | None, **options: Any) -> Loader:
    experiment = TINY.with_("tokenizer.kind", "unigram").with_("augment.labels", config).with_("augment.speed", None)
    reading = experiment.with_("loader.workers", options.pop("workers", 0)).reading()
    return Loader(corpus, tokenizer, reading, **{"seed": 1, "frames": frames, "training": True, **options})


def texts_and_labels(source: Loader, number: int) -> dict[str, tuple[int, ...]]:
    found = {}
    for loaded in source.batches(number, START):
        assert loaded.batch is not None
        lengths = loaded.batch.label_lengths.tolist()
        rows = zip(loaded.batch.ids, loaded.batch.labels.tolist(), lengths)
        found |= {name: tuple(row[:length]) for name, row, length in rows}
    return found


@pytest.mark.parametrize("config", [LongestMatchSampling(deviate=0.5), UnigramSampling(alpha=0.2)])
def test_labels_are_drawn_anew_in_every_epoch_and_spell_the_text(
    corpus: Manifest, tmp_path: Path, config: SamplingConfig
) -> None:
    tokenizer = pieces(tmp_path)
    source = drawn(corpus, tokenizer, config)
    first, again, second = (texts_and_labels(source, number) for number in (1, 1, 2))
    assert first == again != second
    usual = texts_and_labels(drawn(corpus, tokenizer, None), 1)
    assert usual != first
    for name, labels in usual.items():
        assert tokenizer.decode(first[name]) == tokenizer.decode(second[name]) == tokenizer.decode(labels)
    assert texts_and_labels(drawn(corpus, tokenizer, config, workers=2), 2) == second
    assert texts_and_labels(drawn(corpus, tokenizer, config, training=False), 1) == usual


def test_an_imported_vocabulary_gives_pieces_to_draw_from() -> None:
    tokenizer = BpeTokenizer(["</s>", "<unk>", "AB@@", "A@@", "B@@", "CD", "C@@", "D", "B"], None)
    lexicon = tokenizer.lexicon()
    seen = set()
    for seed in range(200):
        labels = draw_labels("ABCD AB", LongestMatchSampling(deviate=0.5), lexicon, tokenizer.encode, seed)
        assert tokenizer.decode(labels) == "ABCD AB"
        seen.add(tuple(labels))
    assert len(seen) == 4  # AB or A B, CD or C D; AB ends a word only as A@@ B


def test_drawn_labels_that_do_not_fit_the_audio_are_not_taken(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data", ["ABCD ABCD ABCD ABCD"] * 6)
    corpus, tokenizer = Manifest.open(tmp_path / "data", "train"), pieces(tmp_path)
    usual = len(tokenizer.encode("ABCD ABCD ABCD ABCD"))
    tight = {"frames": lambda samples: torch.full_like(samples, usual + 3)}
    labels = texts_and_labels(drawn(corpus, tokenizer, UnigramSampling(alpha=0.0), **tight), 1)
    assert len(labels) == 6
    assert max(map(len, labels.values())) <= usual + 3


def test_labels_need_not_fit_ctc_frames_without_ctc(faulty: Manifest) -> None:
    experiment = TINY.with_("loader.max_bad_fraction", 1.0).with_("ctc.layers", ())
    bad = {bad.id for loaded in loader(faulty, experiment).batches(1, START) for bad in loaded.bad}
    assert "crowded" not in bad
    assert "long-text" in bad


def test_eos_takes_a_ctc_frame_where_it_is_a_ctc_target(tmp_path: Path) -> None:
    write_corpus(tmp_path, ["ABCABCAB"])  # 8 labels, 8000 samples: 8 frames
    manifest = Manifest.open(tmp_path, "train")
    experiment = TINY.with_("augment.speed", None).with_("loader.max_bad_fraction", 1.0)
    assert [loaded.bad for loaded in loader(manifest, experiment).batches(1, START)] == [()]
    (loaded,) = loader(manifest, experiment.with_("ctc.eos", True)).batches(1, START)
    assert loaded.bad[0].reason == "8 labels need 9 CTC frames, the audio gives 8"


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_unusable_utterances_stop_with_the_first_ones_named(faulty: Manifest, workers: int) -> None:
    source = loader(faulty, TINY.with_("order.kind", "sorted").with_("loader.workers", workers))
    with pytest.raises(UserError) as error:
        list(source.batches(1, START))
    message = str(error.value)
    assert message.startswith("4 of 18 utterances are unusable, more than loader.max_bad_fraction 0.1 allows: ")
    assert "utterance instant: audio is too short: no encoder frame; utterance " in message


def test_an_epoch_without_any_utterance_is_refused(corpus: Manifest) -> None:
    with pytest.raises(UserError, match="no utterance is left for sub-epoch 41"):
        list(loader(corpus, TINY.with_("order.partition", 50)).batches(41, START))
    with pytest.raises(UserError, match=r"batch\.max_labels 2"):
        list(loader(corpus, TINY.with_("batch.max_labels", 2), indices=np.array([1])).batches(1, START))


def test_an_error_for_the_user_comes_through_from_a_worker(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, ["AB"] * 3)
    source = loader(Manifest.open(tmp_path, "train"), TINY.with_("loader.workers", 1).with_("batch.max_labels", None))
    path.write_text("gone\n")
    with pytest.raises(UserError, match=r"train\.jsonl:\d: not valid JSON"):
        list(source.batches(1, START))


def test_batches_of_an_epoch_left_behind_are_refused(corpus: Manifest) -> None:
    source = loader(corpus, TINY.with_("loader.workers", 1))
    first = source.batches(1, START)
    next(first)
    assert epoch(source, 2) == epoch(loader(corpus), 2)
    with pytest.raises(RuntimeError, match="asked for others in the meantime"):
        next(first)


def test_the_global_random_state_is_left_alone(corpus: Manifest) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    epoch(loader(corpus, TINY.with_("loader.workers", 1)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index,union-attr]


def test_planning_a_large_epoch_is_quick() -> None:
    samples = np.random.RandomState(0).randint(16_000, 320_000, 280_000)
    manifest = Manifest((ManifestFile(Path("none"), np.zeros(1, np.int64), samples),), samples, np.array([0, 280_000]))
    source = loader(manifest, Experiment().with_("batch.max_labels", None).with_("order.partition", 20))
    begin = time.perf_counter()
    assert sum(map(len, source.plan(7, START))) == 14_000
    assert time.perf_counter() - begin < 1.0
