import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aedo.features.logmel import LogMelConfig
from aedo.stream.features import Window, WindowCutter
from tests.stream.pieces import cut, noise

SIZES = [(48, 30), (30, 30), (12, 6), (7, 1)]
FEATURES = LogMelConfig().build()


def streamed(samples: np.ndarray, cutter: WindowCutter, sizes: list[int]) -> list[Window]:
    return [window for piece in cut(samples, sizes) for window in cutter.push(piece)] + cutter.finish()


def offline(samples: np.ndarray, size: int, stride: int) -> list[torch.Tensor]:
    """Windows of the features of the whole audio, in a batch with something longer; zeros behind its end."""
    features = FEATURES
    audio = torch.nn.functional.pad(torch.from_numpy(samples), (0, 4000))
    found = features(audio[None], torch.tensor([len(samples)])).values[0]
    found = found[: int(features.lengths(torch.tensor(len(samples))))]
    padded = torch.nn.functional.pad(found, (0, 0, 0, size))
    return [padded[start : start + size] for start in range(0, len(found), stride)]


@pytest.mark.parametrize(("size", "stride"), SIZES)
@given(length=st.integers(0, 30000), sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_windows_of_a_stream_are_those_of_the_whole_audio_bit_for_bit(size, stride, length, sizes):
    samples = noise(length)
    found = streamed(samples, WindowCutter(FEATURES, size, stride), sizes)
    wanted = offline(samples, size, stride)
    assert len(found) == len(wanted)
    assert all(torch.equal(a.values, b) for a, b in zip(found, wanted, strict=True))
    assert [window.last for window in found] == [False] * (len(found) - 1) + [True] * bool(found)


@pytest.mark.parametrize(("size", "stride"), SIZES)
def test_a_window_comes_as_soon_as_its_samples_are_there(size, stride):
    cutter = WindowCutter(FEATURES, size, stride)
    needed = (size - 1) * 160 + 400 + (160 if size == stride else 0)
    assert not cutter.push(noise(needed - 1))
    assert len(cutter.push(noise(1))) == 1


def test_frames_within_the_audio_are_counted():
    found = streamed(noise(99 * 160 + 400), WindowCutter(FEATURES, 48, 30), [1000])
    assert [window.frames for window in found] == [48, 48, 40, 10]


def test_what_is_carried_does_not_grow():
    cutter = WindowCutter(FEATURES, 48, 30)
    carried = []
    for piece in cut(noise(160000), [1600]):
        cutter.push(piece)
        carried.append(cutter.carried)
    assert max(carried[50:]) <= max(carried[:50])


def test_after_a_reset_the_next_sample_is_the_first():
    cutter, samples = WindowCutter(FEATURES, 48, 30), noise(20000)
    cutter.push(noise(12345, seed=1))
    cutter.reset()
    assert all(
        torch.equal(a.values, b)
        for a, b in zip(streamed(samples, cutter, [700]), offline(samples, 48, 30), strict=True)
    )
