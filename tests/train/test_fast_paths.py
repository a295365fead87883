"""What is computed with gradients by hand trains as what is left to autograd: a plain form of every fast path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from aedo.bench.parts import SPEECH, Bench, Shape
from aedo.data.batch import Batch
from aedo.losses.ctc import ctc_loss
from aedo.model.frontend import ConvFrontend
from aedo.model.lstm_decoder import LstmDecoder
from aedo.nn.attend import attention_weights
from aedo.nn.convolution import DepthwiseConvolution
from aedo.nn.norms import MaskedBatchNorm
from tests.train.micro import micro_experiment

UPDATES = 200
TOLERANCE = 1e-3
"""Of a loss, relative to it.  Rounding grows from update to update, the faster the higher the learning rate: after 200
of these it is some 3e-5, as where every weight is changed in its last digit after every update."""
UNDROPPED = {
    "augment.specaugment": None,
    "encoder.dropout.rate": 0.0,
    "encoder.attention.dropout": 0.0,
    "decoder.readout_dropout.rate": 0.0,
    "decoder.zone_cell": 0.0,
    "decoder.zone_hidden": 0.0,
    "train.accumulate": 1,
    "train.learning_rate": {"kind": "constant", "value": 3e-4},
}


def plain_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
    added: Tensor | None,
    keep: Tensor | None,
    factor: float,
) -> Tensor:
    weights = attention_weights(query, key, seen, added)
    return (weights if keep is None else weights * keep * factor) @ value


def plain_norm(norm: MaskedBatchNorm, x: Tensor, mask: Tensor, frames: int) -> Tensor:
    valid = mask[..., None].to(x.dtype)
    mean = (x * valid).sum((0, 1)) / frames
    var = ((x - mean).square() * valid).sum((0, 1)) / frames
    return (x - mean) * (norm.weight * torch.rsqrt(var + norm.eps)) + norm.bias


def plain_convolution(convolution: DepthwiseConvolution, x: Tensor) -> Tensor:
    return nn.Conv1d.forward(convolution, x.transpose(1, 2)).transpose(1, 2)


def plain_ctc(logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    return ctc_loss(logits.float().log_softmax(-1), lengths, labels, label_lengths)


@contextmanager
def plainly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aedo.nn.attend.written_attention", plain_attention)
        patch.setattr(MaskedBatchNorm, "forward", plain_norm)
        patch.setattr(DepthwiseConvolution, "convolve", plain_convolution)
        patch.setattr("aedo.losses.objective.ctc_loss_of_logits", plain_ctc)
        patch.setattr(ConvFrontend, "_in_pairs", lambda *_: False)
        yield


def batch(number: int) -> Batch:
    """Noise: utterances of different lengths, each with a few labels."""
    random = torch.Generator().manual_seed(number)
    samples = torch.randint(6_000, 16_000, (3,), generator=random)
    audio = torch.randn(3, int(samples.max()), generator=random)
    audio = audio * (torch.arange(audio.shape[1]) < samples[:, None])
    lengths = torch.randint(1, 4, (3,), generator=random)
    labels = torch.randint(1, 11, (3, 3), generator=random) * (torch.arange(3) < lengths[:, None])
    return Batch(("a", "b", "c"), audio, samples, labels[:, : int(lengths.max())], lengths)


def losses(*, fast: bool, updates: int) -> list[float]:
    experiment = micro_experiment()
    for field, value in UNDROPPED.items():
        experiment = experiment.with_(field, value)
    step = Bench(experiment, 11, Shape(1, 16_000, 1), torch.device("cpu")).step
    assert isinstance(step.model.decoder, LstmDecoder)
    step.model.decoder.loop = "fast" if fast else "plain"
    found = []
    for number in range(updates):
        found.append(float(step.micro_step(batch(number % 8), SPEECH).total.detach()))
        step.update(SPEECH)
    return found


@pytest.mark.parametrize("updates", [20, pytest.param(UPDATES, marks=pytest.mark.slow)])
def test_fast_and_plain_paths_stay_together_over_many_updates(updates: int) -> None:
    ours = losses(fast=True, updates=updates)
    with plainly():
        plain = losses(fast=False, updates=updates)
    farthest = max(abs(a - b) / abs(b) for a, b in zip(ours, plain, strict=True))
    print(f"largest difference of a loss over {updates} updates: {farthest:.1e}")
    assert plain[-1] < 0.9 * plain[0], "it learns"
    assert 0 < farthest < TOLERANCE, "not bit for bit (they are two ways), but close"
