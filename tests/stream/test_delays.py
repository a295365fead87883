import numpy as np
import pytest

from aedo.stream.delays import Viewer, delays, ends_of_words, joined, play
from aedo.stream.session import Stream, StreamResult, StreamWord, stream_results
from tests.stream.pieces import cut, noise
from tests.stream.tiny import bursts, tiny_engine, tiny_recognizer


def result(final: str, partial: str) -> StreamResult:
    return StreamResult(tuple(StreamWord(word, 0, 1) for word in final.split()), partial, 1.0, ended=False)


def test_a_word_is_shown_from_when_on_it_did_not_change():
    viewer = Viewer()
    for clock, (final, partial) in enumerate(
        [("", "a"), ("", "a c"), ("", "a b"), ("a", "b"), ("b", "d"), ("d e", "")]
    ):
        viewer.see(result(final, partial), clock)
    assert viewer.words == [("a", 0, 3), ("b", 2, 4), ("d", 4, 5), ("e", 5, 5)]


def test_a_played_stream_says_what_a_stream_says_and_never_before_its_time():
    samples, engine = bursts(3, 9), tiny_engine(9)
    played = play(Stream(engine), samples)
    wanted = [word for r in stream_results(Stream(engine), cut(samples, [1600])) for word in r.final]
    assert [word.text for word in played.words] == [word.text for word in wanted]
    assert played.seconds == 3.0
    for word, plain in zip(played.words, wanted, strict=True):
        assert word.final >= word.shown
        assert word.final >= min(3.0, plain.end)
    assert sum(played.computing) > 0


def test_words_end_in_order_within_the_audio():
    ends = ends_of_words(tiny_recognizer(), noise(32000), 16000, ["ab", "c"])
    assert ends is not None
    assert 0 < ends[0] < ends[1] <= 2.04


def test_words_that_do_not_fit_have_no_ends():
    assert ends_of_words(tiny_recognizer(), noise(1600), 16000, ["abcdef"] * 5) is None
    assert ends_of_words(tiny_recognizer(), noise(16000), 16000, []) is None


def test_words_that_only_the_end_made_final_have_no_delay():
    recognizer = tiny_recognizer(9)
    played, late = delays(recognizer, Stream(tiny_engine(9)), bursts(3, 9))
    assert len(late) < len(played.words) or not played.words


@pytest.mark.parametrize(("seconds", "lengths"), [(1.0, [16000, 16000, 8000]), (1.5, [24000, 16000]), (9.0, [40000])])
def test_utterances_are_joined_to_stretches(seconds, lengths):
    found = list(joined((noise(8000, seed) for seed in range(5)), 16000, seconds))
    assert [len(samples) for samples in found] == lengths
    assert np.array_equal(np.concatenate(found), np.concatenate([noise(8000, seed) for seed in range(5)]))
