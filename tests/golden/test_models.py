"""Every layer, loss, gradient and BatchNorm update of the small reference models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aedo.interop.returnn import foreign_name
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import ctc_loss
from aedo.losses.objective import Objective
from aedo.model.aed import AED, Outputs
from aedo.model.labels import Labels
from aedo.schedule import START
from tests.golden.models import NAMES, arrays_of, config_of, experiment_of, model_of

TOLERANCE = 2e-5
"""Largest difference, relative to the largest magnitude of the reference tensor."""


def difference(ours: torch.Tensor, reference: np.ndarray) -> float:
    expected = torch.from_numpy(np.asarray(reference))
    assert ours.shape == expected.shape, f"{tuple(ours.shape)} is not {tuple(expected.shape)}"
    largest = expected.abs().max().item() or 1.0
    return (ours.detach() - expected).abs().max().item() / largest


def valid(values: torch.Tensor | np.ndarray, lengths: np.ndarray) -> torch.Tensor:
    """Rows [B, T, ...] cut to their lengths and joined -> [sum of lengths, ...]."""
    values = torch.as_tensor(values)
    return torch.cat([row[:length] for row, length in zip(values, lengths.tolist())])


def labels_of(name: str) -> Labels:
    """Targets without the EOS the reference appends."""
    inputs = arrays_of(name, "inputs")
    ids, lengths = torch.from_numpy(inputs["targets"]).long(), torch.from_numpy(inputs["targets_len"]).long()
    return Labels(ids[:, :-1], lengths - 1)


def run(name: str, model: AED) -> Outputs:
    inputs = arrays_of(name, "inputs")
    audio, lengths = torch.from_numpy(inputs["audio"]), torch.from_numpy(inputs["audio_len"]).long()
    return model(model.features(audio, lengths), labels_of(name))


def without_randomness(model: AED) -> AED:
    """Training mode in which only BatchNorm behaves as in training."""
    model.train()
    for module in model.modules():
        for rate in ("rate", "dropout", "zone_cell", "zone_hidden"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    return model


def station_values(model: AED, outputs: Outputs) -> dict[str, torch.Tensor]:
    """Our values under the reference's names, valid positions only."""
    encoded, frames = outputs.encoded, outputs.encoded.lengths.numpy()
    values = {"enc": valid(encoded.states, frames)}
    for layer, states in encoded.layers.items():
        top = model.decoder is None and layer == len(model.encoder.layers)
        values[f"enc_layer_{layer}"] = valid(states, frames)
        values[f"ctc_log_probs_{'final' if top else layer}"] = valid(model.ctc_log_probs(encoded, layer), frames)
    if model.decoder is not None:
        memory = model.decoder.memory(encoded)
        values["enc_ctx"] = valid(memory.keys, frames)
        values["inv_fertility"] = 2 * valid(memory.fertility, frames)[:, None]
    return values


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NAMES)
def test_every_station_of_the_encoder_equals_the_reference(name: str, mode: str) -> None:
    model = model_of(name) if mode == "eval" else without_randomness(model_of(name))
    reference = arrays_of(name, "outputs")
    frames = reference["enc_len"]
    prefix = "" if mode == "eval" else "train/"
    outputs = run(name, model)
    assert outputs.encoded.lengths.tolist() == frames.tolist()
    for station, ours in station_values(model, outputs).items():
        expected = valid(reference[prefix + station], frames)
        assert difference(ours, expected.numpy()) < TOLERANCE, station


@pytest.mark.parametrize("name", NAMES)
def test_log_mel_equals_the_reference(name: str) -> None:
    inputs, reference = arrays_of(name, "inputs"), arrays_of(name, "outputs")
    features = model_of(name).features(torch.from_numpy(inputs["audio"]), torch.from_numpy(inputs["audio_len"]).long())
    assert features.lengths.tolist() == reference["log_mel_len"].tolist()
    ours = valid(features.values, reference["log_mel_len"])
    assert (ours - valid(reference["log_mel"], reference["log_mel_len"])).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["base", "base-bv24"])
def test_convolutions_of_the_front_end_equal_the_reference(name: str) -> None:
    model, inputs, reference = model_of(name), arrays_of(name, "inputs"), arrays_of(name, "outputs")
    features = model.features(torch.from_numpy(inputs["audio"]), torch.from_numpy(inputs["audio_len"]).long())
    ours = valid(model.frontend.convolve(features), reference["enc_len"])
    assert difference(ours, valid(reference["conv_out"], reference["enc_len"]).numpy()) < TOLERANCE


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "ctc-only"])
def test_decoder_equals_the_reference(name: str, mode: str) -> None:
    model = model_of(name) if mode == "eval" else without_randomness(model_of(name))
    reference, prefix = arrays_of(name, "outputs"), "" if mode == "eval" else "train/"
    encoded = run(name, model).encoded
    assert model.decoder is not None
    labels = labels_of(name).with_eos()
    output = model.decoder(encoded, labels, keep_attention=True)
    packing, frames = output.packing, encoded.lengths
    assert (
        difference(output.logits, packing.take(torch.from_numpy(reference[prefix + "dec_logits"])).numpy()) < TOLERANCE
    )
    nll = cross_entropy(output.logits, output.targets, 0.1)
    assert difference(nll, packing.take(torch.from_numpy(reference[prefix + "ce_per_label"])).numpy()) < TOLERANCE
    inside = torch.arange(encoded.states.shape[1]) < frames[packing.rows][:, None]
    weights = packing.take(
        torch.from_numpy(reference[prefix + "att_weights"])[..., 0]
        if reference[prefix + "att_weights"].ndim == 4
        else torch.from_numpy(reference[prefix + "att_weights"])
    )
    assert ((output.attention - weights).abs() * inside).max() < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_losses_equal_the_reference(name: str) -> None:
    config, reference = config_of(name), arrays_of(name, "outputs")
    experiment, model = experiment_of(config), model_of(name)
    outputs, labels = run(name, model), labels_of(name)
    losses = Objective(experiment.loss, experiment.ctc)(outputs, labels, START)
    means = {term.name: (term.sum / term.count).item() for term in losses.terms}
    top = config["num_enc_layers"]
    for term, value in means.items():
        theirs = {"ler": "fer", f"ctc_{top}": "ctc"}.get(term, term) if model.decoder is None or term == "ler" else term
        assert value == pytest.approx(float(reference[f"loss_mean_{theirs}"]), rel=TOLERANCE), term
    assert losses.total.item() == pytest.approx(float(reference["total_loss_normalized"]), rel=TOLERANCE)
    sums = Objective(experiment.loss.with_("normalization", "sum"), experiment.ctc)(outputs, labels, START)
    assert sums.total.item() == pytest.approx(float(reference["total_loss_unnormalized"]), rel=TOLERANCE)
    with_eos = labels.with_eos()
    for layer in config["aux_loss_layers"]:
        per_utterance = ctc_loss(
            model.ctc_log_probs(outputs.encoded, layer), outputs.encoded.lengths, with_eos.ids, with_eos.lengths
        )
        assert difference(per_utterance, reference[f"ctc_loss_{layer}"]) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_running_statistics_equal_the_reference(name: str) -> None:
    config, reference = config_of(name), arrays_of(name, "outputs")
    if "train_total_loss_normalized" not in reference:
        pytest.skip("this folder holds evaluation outputs only")
    experiment, model = experiment_of(config), without_randomness(model_of(name))
    losses = Objective(experiment.loss, experiment.ctc)(run(name, model), labels_of(name), START)
    losses.total.backward()
    assert losses.total.item() == pytest.approx(float(reference["train_total_loss_normalized"]), rel=TOLERANCE)

    norms = dict(zip(reference["grad_norms_names"].tolist(), reference["grad_norms_normalized"].tolist()))
    largest = max(norms.values())
    for ours, parameter in model.named_parameters():
        theirs, transform = foreign_name(ours, model)
        assert parameter.grad is not None, ours
        noise = theirs.endswith("depthwise_conv.bias") and config["conv_norm"].startswith("BatchNorm")
        if noise:  # a BatchNorm behind it cancels this bias: its gradient is rounding noise in both systems
            assert parameter.grad.norm() < 1e-4 * largest
            continue
        assert parameter.grad.norm().item() == pytest.approx(norms[theirs], rel=1e-4, abs=1e-6 * largest), ours
        if f"grad/{theirs}" in reference:
            assert difference(transform(parameter.grad), reference[f"grad/{theirs}"]) < 1e-4, ours
    assert len(norms) == len(list(model.parameters()))

    for ours, buffer in model.named_buffers():
        if "running" in ours:
            theirs, _ = foreign_name(ours, model)
            assert difference(buffer, reference[f"running_after/{theirs}"]) < TOLERANCE, ours


@pytest.mark.parametrize("name", ["base-bv24"])
def test_an_utterance_alone_gives_what_it_gives_in_a_batch(name: str) -> None:
    model, inputs = model_of(name), arrays_of(name, "inputs")
    batch = run(name, model)
    for row, length in enumerate(inputs["audio_len"].tolist()):
        features = model.features(torch.from_numpy(inputs["audio"][row : row + 1, :length]), torch.tensor([length]))
        alone = model.encode(features).states[0]
        torch.testing.assert_close(batch.encoded.states[row, : alone.shape[0]], alone, rtol=1e-4, atol=1e-5)
