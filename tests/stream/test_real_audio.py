"""Recorded speech through streams; the model is a random one, which says the oddest things about it."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from aedo.data.audio import read_audio
from aedo.stream.session import Stream, stream_results
from tests.stream.tiny import offline, tiny_engine, tiny_recognizer


@cache
def recordings() -> list[np.ndarray]:
    folder = Path(os.environ.get("AEDO_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "an4"
    if not folder.is_dir():
        pytest.skip("no real corpora: set AEDO_TEST_DATA to a folder with an4 and librispeech-mini")
    paths = sorted(folder.rglob("*.flac"))
    return [read_audio(path, 16000) for path in paths[:: max(1, len(paths) // 6)][:6]]


@pytest.mark.parametrize(("kept", "look_ahead"), [(3, 2), (10, 5)])
@pytest.mark.parametrize("search", ["attention", "joint"])
def test_streams_of_recorded_speech_give_what_offline_recognition_gives(kept, look_ahead, search):
    settings = {"kept": kept, "look_ahead": look_ahead, "search": search}
    recognizer, stream = tiny_recognizer(10, **settings), Stream(tiny_engine(10, **settings))
    random = np.random.default_rng(0)
    said = []
    for samples in recordings():
        pieces = np.split(samples, np.sort(random.integers(0, len(samples), 20)))
        stream.reset()
        found = [word.text for result in stream_results(stream, pieces) for word in result.final]
        said.append(offline(recognizer, samples))
        assert " ".join(found) == said[-1]
    assert any(said)
