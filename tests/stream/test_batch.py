from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.errors import UserError
from aedo.stream.batch import StreamBatch
from aedo.stream.session import Stream, StreamResult, stream_results
from tests.stream.pieces import noise
from tests.stream.tiny import bursts, tiny_engine

engine = cache(tiny_engine)


@given(seed=st.sampled_from([3, 8, 9]), data=st.data())
@settings(max_examples=8, deadline=None)
def test_streams_that_come_and_go_are_recognised_as_if_alone(seed, data):
    audio = [bursts(data.draw(st.floats(0.0, 2.0)), number) for number in range(4)]
    batch: StreamBatch[int] = StreamBatch(engine(seed), most=data.draw(st.integers(1, 4)))
    left, opened = dict(enumerate(audio)), set()
    found: dict[int, list[StreamResult]] = {key: [] for key in left}
    while left:
        key = data.draw(st.sampled_from(sorted(left)))
        if key not in opened:
            batch.open(key)
            opened.add(key)
        count = data.draw(st.integers(1, 20000))
        batch.push(key, left[key][:count])
        left[key] = left[key][count:]
        if not len(left[key]):
            batch.finish(key)
            del left[key]
        if data.draw(st.booleans()):
            for name, result in batch.step():
                found[name].append(result)
    for name, result in batch.drain():
        found[name].append(result)
    assert len(batch) == 0
    for number, samples in enumerate(audio):
        assert words(found[number]) == words(list(stream_results(Stream(engine(seed)), [samples])))


def words(results):
    assert [result.ended for result in results] == [False] * (len(results) - 1) + [True]
    return [word for result in results for word in result.final]


def test_a_stream_is_closed_when_all_of_it_is_recognised():
    batch: StreamBatch[str] = StreamBatch(engine(0))
    batch.open("a")
    batch.push("a", noise(16000))
    batch.finish("a")
    assert len(batch) == 1
    assert batch.ready == 1
    assert batch.size > 0
    assert [result.ended for _, result in batch.drain()][-1]
    assert len(batch) == 0
    assert batch.step() == []


def test_audio_too_short_for_a_frame_ends_too():
    batch: StreamBatch[str] = StreamBatch(engine(0))
    batch.open("a")
    batch.finish("a")
    assert [(key, result.ended) for key, result in batch.drain()] == [("a", True)]


def test_names_are_those_of_open_streams():
    batch: StreamBatch[str] = StreamBatch(engine(0))
    batch.open("a")
    with pytest.raises(UserError, match="'a' is open already"):
        batch.open("a")
    for act in (lambda: batch.push("b", np.zeros(1, np.float32)), lambda: batch.finish("b")):
        with pytest.raises(UserError, match="no stream 'b'"):
            act()
