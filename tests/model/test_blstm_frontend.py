"""The recurrent front-ends: sizes, lengths, padding, gradients, and that a whole model trains with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_model, save_model
from torch import nn

from aedo.experiment import Experiment
from aedo.features.logmel import Features
from aedo.model.blstm_frontend import Blstm, BlstmFrontend, BlstmFrontendConfig
from aedo.nn.dropout import DropoutConfig
from tests.train.micro import micro_experiment
from tests.train.test_step import at, batch

QUIET = DropoutConfig(rate=0.0)


def frontend(channels: tuple[int, ...] = (), bands: int = 7) -> BlstmFrontend:
    torch.manual_seed(0)
    return BlstmFrontendConfig(units=4, channels=channels).build(bands, 5, QUIET)


@pytest.mark.parametrize(("channels", "inputs", "convolutions"), [((), 80, 0), ((32, 32), 640, 320 + 9248)])
def test_parameters_are_as_many_as_counted_by_hand(channels: tuple[int, ...], inputs: int, convolutions: int) -> None:
    built = BlstmFrontendConfig(channels=channels).build(80, 512, QUIET)
    first, second = (2 * (4 * 512 * (size + 512) + 2 * 4 * 512) for size in (inputs, 1024))
    assert sum(p.numel() for p in built.parameters()) == convolutions + first + second + 1024 * 512


def test_the_last_incomplete_frames_are_kept() -> None:
    front, frames = frontend(), torch.arange(1, 14)
    expected = [((n + 2) // 3 + 1) // 2 for n in range(1, 14)]
    assert front.lengths(frames).tolist() == expected
    assert front(Features(torch.randn(1, 13, 7), torch.tensor([13]))).shape == (1, expected[-1], 5)


def test_one_layer_is_torchs_bidirectional_lstm_on_packed_sequences() -> None:
    torch.manual_seed(0)
    ours, theirs = Blstm(3, 4), nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    names = {"forwards": "", "backwards": "_reverse"}
    theirs.load_state_dict(
        {name.split(".")[1] + names[name.split(".")[0]]: value for name, value in ours.state_dict().items()}
    )
    x, lengths = torch.randn(3, 6, 3), torch.tensor([4, 6, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    valid = torch.arange(6) < lengths[:, None]
    torch.testing.assert_close(ours(x, lengths)[valid], expected[valid])


@pytest.mark.parametrize("channels", [(), (2, 3)])
def test_an_utterance_alone_gives_what_it_gives_in_a_batch(channels: tuple[int, ...]) -> None:
    front = frontend(channels)
    values, lengths = torch.randn(3, 20, 7), torch.tensor([20, 11, 1])
    together = front(Features(values, lengths))
    for row, length in enumerate(lengths.tolist()):
        alone = front(Features(values[row : row + 1, :length], torch.tensor([length])))[0]
        torch.testing.assert_close(together[row, : len(alone)], alone)


@pytest.mark.parametrize("channels", [(), (2,)])
def test_gradients_are_right_in_double_precision(channels: tuple[int, ...]) -> None:
    front, lengths = frontend(channels, bands=4).double(), torch.tensor([7, 4])
    x = torch.randn(2, 7, 4, dtype=torch.float64, requires_grad=True)

    def valid(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = front(Features(values, lengths))
        return tuple(y[row, :length] for row, length in enumerate(front.lengths(lengths).tolist()))

    assert torch.autograd.gradcheck(valid, (x,), eps=1e-6, atol=1e-5)


def test_every_parameter_of_the_layers_starts_as_in_the_reference() -> None:
    layer = BlstmFrontendConfig(units=64).build(80, 512, QUIET).layers[0]
    for name, parameter in layer.named_parameters():
        if parameter.dim() == 1:
            assert (parameter == 0).all(), name
        else:
            limit = (6 / sum(parameter.shape)) ** 0.5
            assert parameter.abs().max().item() == pytest.approx(limit, rel=1e-2), name
            assert parameter.std().item() == pytest.approx(limit / 3**0.5, rel=5 * (0.8 / parameter.numel()) ** 0.5)


def experiment(**fields: Any) -> Experiment:
    return micro_experiment().with_("frontend", {"kind": "blstm", "units": 4, **fields})


@pytest.mark.parametrize("channels", [(), (2, 2)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_whole_model_learns_with_it(channels: tuple[int, ...], precision: str) -> None:
    from aedo.train.step import forward

    whole = experiment(channels=channels).with_("train.precision", precision)
    torch.manual_seed(0)
    model = whole.build_model(9)
    losses = forward(
        model, whole.loss.build(whole.ctc), batch(0), at(0), whole.train, torch.device("cpu"), whole.augment.build()
    )
    losses.total.backward()  # type: ignore[no-untyped-call]
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []


def test_it_waits_for_nothing_on_the_device() -> None:
    """On the meta device, which has shapes but no values: whatever read one back would raise."""
    front = frontend((2,)).to("meta")
    y = front(Features(torch.empty(2, 20, 7, device="meta"), torch.tensor([20, 11])))
    assert y.shape == (2, 4, 5)


def test_weights_survive_saving(tmp_path: Path) -> None:
    one, other = (experiment(channels=(2, 2)).build_model(9) for _ in range(2))
    save_model(one, str(tmp_path / "model.safetensors"))
    load_model(other, str(tmp_path / "model.safetensors"))
    features = Features(torch.randn(1, 30, 80), torch.tensor([30]))
    assert torch.equal(one.eval().encode(features).states, other.eval().encode(features).states)


def test_trees_without_a_kind_have_convolutions() -> None:
    assert Experiment.model_validate({"frontend": {"channels": (2, 2, 2)}}).frontend.kind == "conv"
    assert Experiment.model_validate({"frontend": {"kind": "blstm"}}).frontend.downsampling == 6


def test_there_is_at_least_one_layer() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        BlstmFrontendConfig(time_pools=())
