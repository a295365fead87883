from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.errors import UserError
from aedo.stream.engine import Carried
from aedo.stream.features import Window
from aedo.stream.session import Stream, StreamResult, step, stream_results
from tests.stream.pieces import cut, noise
from tests.stream.tiny import bursts, offline, tiny_engine, tiny_recognizer

SEEDS = (0, 3, 4, 8, 9, 10)
engine = cache(tiny_engine)


def scripted(said: list[str], other: list[str] | None = None, endpoint: float | None = None) -> list[StreamResult]:
    """Results of a stream whose best hypothesis says these characters in its chunks, and another one those."""
    shared = tiny_engine()
    texts = [said] if other is None else [said, other]
    number = iter(range(len(said)))

    def grown(carried: Sequence[Carried], windows: Sequence[Window]) -> list[Carried]:
        (old,) = carried
        chunk, heard = next(number, None), int(old.beam.heard[0, 0])
        before = old.beam.labels.shape[1]
        lines = []
        for row, text in enumerate(texts):
            had = min(row, before - 1)
            length = int(old.beam.lengths[0, had])
            new = [] if chunk is None else [" abcdef".index(character) + 2 for character in text[chunk]]
            labels = old.beam.labels[0, had, :length].tolist() + new
            chunks = old.beam.chunks[0, had, :length].tolist() + [heard] * len(new)
            lines.append((labels, chunks))
        width = max(len(labels) for labels, _ in lines)
        labels, chunks = (
            torch.tensor([[line[i] + [0] * (width - len(line[i])) for line in lines]], dtype=torch.int64)
            for i in (0, 1)
        )
        lengths = torch.tensor([[len(labels) for labels, _ in lines]])
        scores = -torch.arange(len(lines), dtype=torch.float32)[None]
        beam = replace(
            old.beam.gather(torch.zeros(1, len(lines), dtype=torch.int64)),
            labels=labels,
            chunks=chunks,
            lengths=lengths,
            scores=scores,
            heard=torch.full_like(lengths, heard + 1),
        )
        return [replace(old, beam=beam)]

    shared.step = grown  # type: ignore[method-assign]
    samples = (shared.chunked.stride * (len(said) - 1) + 1) * 160 + 240
    return list(stream_results(Stream(shared, endpoint), [np.zeros(samples, np.float32)]))


def text_of(results: list[StreamResult]) -> str:
    return " ".join(word.text for result in results for word in result.final)


@pytest.mark.parametrize("search", ["attention", "joint"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_gives_what_offline_recognition_gives(seed, search):
    recognizer, samples = tiny_recognizer(seed, search=search), bursts(4, seed)
    results = list(stream_results(Stream(tiny_engine(seed, search=search)), cut(samples, [1600])))
    assert text_of(results) == offline(recognizer, samples)


@given(
    seed=st.sampled_from(SEEDS),
    length=st.integers(0, 40000),
    sizes=st.lists(st.integers(0, 20000), min_size=1, max_size=6),
    endpoint=st.sampled_from([None, 0.3]),
)
@settings(max_examples=30, deadline=None)
def test_results_do_not_depend_on_the_sizes_of_the_pieces(seed, length, sizes, endpoint):
    samples = bursts(2.5, seed)[:length]
    whole = list(stream_results(Stream(engine(seed), endpoint), [samples]))
    assert list(stream_results(Stream(engine(seed), endpoint), cut(samples, sizes))) == whole


@given(seed=st.sampled_from(SEEDS), length=st.integers(0, 60000))
@settings(max_examples=30, deadline=None)
def test_audio_of_any_length_gives_what_offline_recognition_gives(seed, length):
    samples = bursts(4, seed)[:length]
    found = text_of(list(stream_results(Stream(engine(seed)), cut(samples, [777]))))
    assert found == offline(tiny_recognizer(seed), samples)


@pytest.mark.parametrize("seed", SEEDS)
def test_final_words_are_the_beginning_of_what_is_recognised_whatever_follows(seed):
    start = bursts(3, seed)
    stream = Stream(engine(seed))
    final = text_of(stream.push(start)).split()
    for other in range(4):
        whole = offline(tiny_recognizer(seed), np.concatenate([start, bursts(2, 100 + other)]))
        assert whole.split()[: len(final)] == final


def test_final_words_come_before_the_end():
    results = scripted(["ab c", "b", " a", "", "", "", "", "", ""])
    assert [word.text for result in results if not result.ended for word in result.final] == ["ab", "cb"]
    assert results[-1].text == "a"


def test_what_hypotheses_disagree_on_stays_partial():
    results = scripted(["ab ", "c ", "a "], other=["ab ", "b ", "a "])
    assert [(result.text, result.partial) for result in results] == [("ab", ""), ("", "c"), ("c a", "")]


@pytest.mark.parametrize("seed", SEEDS)
def test_words_follow_each_other_within_the_audio_heard(seed):
    stream, before = Stream(engine(seed)), 0.0
    for result in stream_results(stream, cut(bursts(4, seed), [1600])):
        for word in result.final:
            assert before <= word.start < word.end
            before = word.start
            assert word.end <= result.seconds + stream.engine.chunk_seconds


def test_the_last_result_ends_with_nothing_partial():
    results = list(stream_results(Stream(engine(8)), cut(bursts(3), [5000])))
    assert [result.ended for result in results] == [False] * (len(results) - 1) + [True]
    assert results[-1].partial == ""
    assert results[-1].seconds == 3.0


@pytest.mark.parametrize("length", [0, 1, 399])
def test_audio_too_short_for_a_frame_ends_with_no_words(length):
    assert list(stream_results(Stream(engine(0)), [noise(length)])) == [StreamResult((), "", length / 16000, True)]


def test_after_a_reset_a_stream_is_as_new():
    stream, samples = Stream(engine(8), 0.3), bursts(2, 1)
    first = list(stream_results(stream, [samples]))
    stream.reset()
    stream.push(bursts(1, 7))
    stream.reset()
    assert list(stream_results(stream, [samples])) == first


def test_a_finished_stream_takes_no_more_audio():
    stream = Stream(engine(0))
    stream.finish()
    with pytest.raises(UserError, match="reset"):
        stream.push(noise(10))
    assert stream.finish() == []


@pytest.mark.parametrize("endpoint", [0.0, -1.0, float("nan"), float("inf")])
def test_an_end_point_is_a_positive_number_of_seconds(endpoint):
    with pytest.raises(UserError, match="end-point"):
        Stream(engine(0), endpoint)


PAUSE = [""] * 8
"""Chunks of 0.18 s in which nothing is said."""


def test_silence_behind_speech_ends_an_utterance_once():
    results = scripted([*PAUSE, "a b", " c", *PAUSE, "c", *PAUSE], endpoint=0.5)
    assert [result.text for result in results if result.final] == ["a", "b", "c", "c"]
    ends = [result for result in results if result.ended]
    assert [result.text for result in ends] == ["c", "c", ""], "two pauses and the end of the audio"
    assert all(result.partial == "" for result in ends)
    spoken = (len(PAUSE) + 2) * 0.18
    assert ends[0].seconds == pytest.approx(spoken + 3 * 0.18 + 0.135), "three chunks, and what is heard behind them"


def test_words_behind_an_end_point_have_times_from_the_start_of_the_stream():
    results = scripted(["a", *PAUSE, "b", *PAUSE], endpoint=0.5)
    words = [word for result in results for word in result.final]
    assert [(word.text, round(word.start / 0.18), round(word.end / 0.18)) for word in words] == [
        ("a", 0, 1),
        ("b", 9, 10),
    ]


def test_without_an_end_point_only_the_end_of_the_audio_ends():
    results = scripted(["a", *PAUSE, "b", *PAUSE])
    assert [result.ended for result in results] == [False] * (len(results) - 1) + [True]
    assert results[-1].text == "ab"


def test_blanks_between_words_are_silence_too():
    assert sum(result.ended for result in scripted(["a", *[" "] * 8], endpoint=0.5)) == 2


@pytest.mark.parametrize("seed", [3, 9])
def test_what_is_carried_stays_small_however_long_the_stream(seed):
    stream, sizes = Stream(engine(seed)), []
    for piece in cut(bursts(25, seed), [8000]):
        stream.push(piece)
        sizes.append(stream.size)
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.5 * max(sizes[:half]) + 2000


def test_a_source_that_fails_is_heard_to_the_end_before_it_fails():
    samples, found = bursts(2, 8), []

    def source():
        yield samples
        raise OSError("gone")

    results = stream_results(Stream(engine(8)), source())
    with pytest.raises(OSError, match="gone"):
        found.extend(results)
    assert found == list(stream_results(Stream(engine(8)), [samples]))


def test_weights_that_are_not_finite_are_named():
    broken = tiny_engine(0)
    with torch.no_grad():
        broken.model.decoder.output.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        Stream(broken).push(noise(16000))


@pytest.mark.parametrize("seed", SEEDS)
def test_streams_stepped_together_give_what_each_gives_alone(seed):
    shared = engine(seed)
    audio = [bursts(seconds, seed + number) for number, seconds in enumerate((2.0, 0.4, 3.1))]
    alone = [list(stream_results(Stream(shared), [samples])) for samples in audio]
    streams = [Stream(shared) for _ in audio]
    found: dict[int, list[StreamResult]] = {id(stream): [] for stream in streams}
    for stream, samples in zip(streams, audio, strict=True):
        stream.add(samples)
        stream.end()
    while any(stream.ready for stream in streams):
        for stream, result in step(streams):
            found[id(stream)].append(result)
    assert [found[id(stream)] for stream in streams] == alone
