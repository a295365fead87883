from __future__ import annotations

import torch

from aedo.features.logmel import LogMelConfig


def test_an_utterance_shorter_than_one_window_gives_no_frames() -> None:
    features = LogMelConfig().build()(torch.zeros(1, 200), torch.tensor([200]))
    assert features.values.shape == (1, 0, 80)
    assert features.lengths.tolist() == [0]


def test_frames_are_counted_from_whole_windows() -> None:
    assert LogMelConfig().build().lengths(torch.tensor([0, 399, 400, 559, 560, 16000])).tolist() == [0, 0, 1, 1, 2, 98]


def test_silence_gives_the_floor() -> None:
    values = LogMelConfig(log_base=10.0).build()(torch.zeros(1, 1600), torch.tensor([1600])).values
    torch.testing.assert_close(values, torch.full_like(values, -10.0))


def test_features_stay_float32_under_autocast() -> None:
    logmel, audio, lengths = LogMelConfig().build(), torch.randn(2, 4000), torch.tensor([4000, 3000])
    plain = logmel(audio, lengths).values
    with torch.autocast("cpu", torch.bfloat16):
        mixed = logmel(audio, lengths).values
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)


def test_a_tone_lights_up_the_filter_around_it() -> None:
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)[None]
    loudest = LogMelConfig().build()(tone, torch.tensor([16000])).values.mean(1).argmax().item()
    assert 26 <= loudest <= 29  # mel(1000 Hz) lies at 28.5 of 81 steps between the centres
