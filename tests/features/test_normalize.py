"""Normalisation of features: closed forms; padding counts for nothing; off is off."""

from __future__ import annotations

import pytest
import torch

from aedo.features.logmel import LogMelConfig
from aedo.features.normalize import GlobalNormConfig, RunningNormConfig, UtteranceNormConfig
from aedo.recipes.names import resolve

LENGTHS = torch.tensor([40, 25, 1])


def padded() -> torch.Tensor:
    """Features whose padding would spoil any statistic."""
    x = torch.randn(3, 40, 5) * torch.tensor([1.0, 2, 3, 4, 5]) + torch.arange(5)
    for row, length in enumerate(LENGTHS.tolist()):
        x[row, length:] = 1000.0
    return x


def valid(x: torch.Tensor) -> list[torch.Tensor]:
    return [row[:length] for row, length in zip(x, LENGTHS.tolist())]


@pytest.mark.parametrize("variance", [True, False])
def test_each_utterance_gets_mean_zero_and_variance_one_by_its_own_frames(variance: bool) -> None:
    torch.manual_seed(0)
    x = padded()
    y = UtteranceNormConfig(variance=variance).build(5)(x, LENGTHS)
    for before, after in zip(valid(x), valid(y)):
        assert after.mean(0).abs().max() < 1e-5
        expected = before.var(0, correction=0)
        if variance:
            expected = expected / (expected + 1e-5)
        torch.testing.assert_close(after.var(0, correction=0), expected, rtol=1e-4, atol=1e-6)


def test_an_utterance_alone_gives_what_it_gives_in_a_batch() -> None:
    torch.manual_seed(1)
    x, norm = padded(), UtteranceNormConfig().build(5)
    together = norm(x, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = norm(x[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(alone[0], together[row, :length])


def test_global_statistics_are_those_of_all_frames_whatever_their_batches() -> None:
    torch.manual_seed(2)
    batches = [padded() - 5, padded() * 3, padded()]
    frames = torch.cat([frame for x in batches for frame in valid(x)])
    norm = GlobalNormConfig().build(5)
    assert norm.fit((x, LENGTHS) for x in batches) == len(frames) == 198
    torch.testing.assert_close(norm.mean, frames.mean(0))
    torch.testing.assert_close(norm.var, frames.var(0, correction=0))
    other = GlobalNormConfig().build(5)
    other.fit((x, LENGTHS) for x in reversed(batches))
    assert torch.equal(norm.mean, other.mean)
    normed = torch.cat([frame for x in batches for frame in valid(norm(x, LENGTHS))])
    assert normed.mean(0).abs().max() < 1e-5
    torch.testing.assert_close(normed.var(0, correction=0), torch.ones(5), rtol=1e-4, atol=1e-4)


def test_without_frames_global_statistics_stay() -> None:
    norm = GlobalNormConfig().build(5)
    assert norm.fit([]) == 0
    assert norm.mean.tolist() == [0] * 5


def test_running_statistics_are_biased_and_masked_and_used_in_evaluation() -> None:
    torch.manual_seed(3)
    x, norm = padded(), RunningNormConfig(momentum=0.25).build(5)
    y = norm(x, LENGTHS)
    frames = torch.cat(valid(x))
    mean, var = frames.mean(0), frames.var(0, correction=0)
    torch.testing.assert_close(torch.cat(valid(y)), (frames - mean) / (var + 1e-3).sqrt())
    torch.testing.assert_close(norm.running_mean, 0.25 * mean)
    torch.testing.assert_close(norm.running_var, 0.75 + 0.25 * var)
    kept = norm.running_mean.clone()
    evaluated = norm.eval()(x, LENGTHS)
    assert torch.equal(norm.running_mean, kept)
    torch.testing.assert_close(evaluated, (x - kept) / (norm.running_var + 1e-3).sqrt())


def test_without_normalisation_there_is_no_new_name_and_no_new_number() -> None:
    audio, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    plain = LogMelConfig().build()
    assert plain.state_dict() == {}
    assert list(plain.children()) == []
    assert torch.equal(plain(audio, lengths).values, plain.log_mel(audio, lengths).values)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("tiny-featnorm_utt", set()),
        ("tiny-featnorm_global", {"normalize.mean", "normalize.var"}),
        ("tiny-featbn", {"normalize.running_mean", "normalize.running_var"}),
    ],
)
def test_what_is_normalised_is_the_log_mel_and_only_statistics_are_saved(name: str, names: set[str]) -> None:
    torch.manual_seed(4)
    audio, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    logmel = resolve(name).features.build().eval()
    assert set(logmel.state_dict()) == names
    assert list(logmel.parameters()) == []
    values, frames = logmel.log_mel(audio, lengths)
    ours = logmel(audio, lengths)
    assert logmel.normalize is not None
    assert torch.equal(ours.values, logmel.normalize(values, frames))
    assert ours.values.dtype == torch.float32
    assert torch.equal(ours.lengths, frames)


def test_too_little_audio_for_a_frame_is_normalised_too() -> None:
    for config in (UtteranceNormConfig(), GlobalNormConfig(), RunningNormConfig()):
        ours = LogMelConfig(normalize=config).build()(torch.zeros(1, 200), torch.tensor([200]))
        assert ours.values.shape == (1, 0, 80)
