"""The later form of the Transformer decoder, on the encoder output of the reference's large recipe in small.

RMSNorm, gated feed-forward networks, rotary positions, shared embedding, an auxiliary head: every layer, loss, gradient
and hypothesis.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aedo.experiment import Experiment
from aedo.interop.returnn import foreign_name
from aedo.interop.returnn_transformer import copies
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.objective import Losses, Objective
from aedo.model.aed import AED, Outputs
from aedo.model.conformer import Encoded
from aedo.model.labels import Labels
from aedo.model.transformer_decoder import TransformerDecoder
from aedo.nn.masks import length_mask
from aedo.schedule import START
from aedo.search.beam import beam_search, reference_scores

FOLDER = Path(__file__).parent / "data" / "large-decoder"
TOLERANCE = 2e-5
"""Largest difference, relative to the largest magnitude of the reference tensor."""


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "outputs.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    config: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())
    theirs = config["decoder"]
    decoder = {
        "kind": "transformer",
        "layers": theirs["num_layers"],
        "dim": theirs["dim"],
        "heads": theirs["num_heads"],
        "feed_forward": {"dim": 256, "activation": "swiglu", "bias": False},
        "norm": "rms",
        "rotary": True,
        "self_attention_bias": False,
        "shared_embedding": theirs["shared_embedding"],
        "embedding_scale": theirs["dim"] ** 0.5,
        "auxiliary": config["dec_aux_layers"],
        "dropout": {"rate": 0.0},
        "attention_dropout": 0.0,
    }
    encoder = {"dim": config["encoder"]["dim"], "layers": 1, "attention": {"heads": 4}, "feed_forward": {"dim": 8}}
    tree = {
        "tokenizer": {"size": config["vocab"]},
        "encoder": encoder,
        "ctc": {"layers": ()},
        "decoder": decoder,
        "loss": {"label_smoothing": config["label_smoothing"]},
    }
    return Experiment.model_validate(tree)


@pytest.fixture
def model(experiment: Experiment) -> AED:
    """Fresh for every test, with the reference's weights in the decoder."""
    model, state = experiment.build_model(experiment.tokenizer.size), load_file(FOLDER / "decoder.safetensors")
    decoder = decoder_of(model)
    left = set(state)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            theirs, transform = foreign_name(f"decoder.{name}", model)
            parameter.copy_(transform(state[theirs]))
            left.discard(theirs)
    assert left == set(copies(model)) == {"decoder.logits.weight"}
    return model


def decoder_of(model: AED) -> TransformerDecoder:
    assert isinstance(model.decoder, TransformerDecoder)
    return model.decoder


def encoded_of(reference: dict[str, np.ndarray], prefix: str = "") -> Encoded:
    states, lengths = torch.from_numpy(reference[f"{prefix}enc"]), torch.from_numpy(reference["enc_len"]).long()
    return Encoded(states, lengths, length_mask(lengths, states.shape[1], states.device), {})


def labels_of(reference: dict[str, np.ndarray]) -> Labels:
    """Without EOS."""
    ids, lengths = torch.from_numpy(reference["dec_targets"]).long(), torch.from_numpy(reference["dec_targets_len"])
    return Labels(ids[:, :-1], lengths.long() - 1)


def difference(ours: torch.Tensor, expected: torch.Tensor) -> float:
    assert ours.shape == expected.shape
    return float((ours.detach() - expected).abs().max() / expected.abs().max())


def losses_of(model: AED, experiment: Experiment, reference: dict[str, np.ndarray], prefix: str = "") -> Losses:
    encoded, labels = encoded_of(reference, prefix), labels_of(reference)
    outputs = Outputs(encoded, {}, decoder_of(model)(encoded, labels.with_eos()))
    return Objective(experiment.loss, experiment.ctc)(outputs, labels, START)


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_every_layer_and_both_output_layers_equal_the_reference(
    model: AED, reference: dict[str, np.ndarray], prefix: str
) -> None:
    decoder, found = decoder_of(model), dict[str, torch.Tensor]()
    for number, block in enumerate(decoder.layers, start=1):
        block.register_forward_hook(lambda _, __, output, n=number: found.update({f"dec_layer_{n}": output[0]}))
    decoder.input_dropout.register_forward_hook(lambda _, __, output: found.update({"dec_in": output}))
    output = decoder(encoded_of(reference, prefix), labels_of(reference).with_eos())
    packed = {name: output.packing.take(values) for name, values in found.items()}
    packed |= {"dec_logits": output.logits, "dec_aux_logits_2": output.auxiliary[2]}
    assert len(packed) == 6
    for station, ours in packed.items():
        expected = output.packing.take(torch.from_numpy(reference[prefix + station]))
        assert difference(ours, expected) < TOLERANCE, station


def test_losses_equal_the_reference(model: AED, experiment: Experiment, reference: dict[str, np.ndarray]) -> None:
    means = {term.name: float(term.sum / term.count) for term in losses_of(model, experiment, reference).terms}
    theirs = {"ce": "ce", "ler": "fer", "ce_2": "ce_2", "ler_2": "fer_2"}
    assert set(means) == set(theirs)
    for ours, name in theirs.items():
        assert means[ours] == pytest.approx(float(reference[f"loss_mean_{name}"]), rel=TOLERANCE), ours
    output = decoder_of(model)(encoded_of(reference), labels_of(reference).with_eos())
    for logits, name in ((output.logits, "ce_per_seq"), (output.auxiliary[2], "ce_aux_2_per_seq")):
        each = cross_entropy(logits, output.targets, 0.1)
        sums = torch.zeros(len(reference[name])).index_add(0, output.packing.rows, each)
        assert difference(sums, torch.from_numpy(reference[name])) < TOLERANCE, name


def test_gradients_equal_the_reference(model: AED, experiment: Experiment, reference: dict[str, np.ndarray]) -> None:
    losses_of(model.train(), experiment, reference, "train/").total.backward()
    norms = dict(zip(reference["grad_norms_names"].tolist(), reference["grad_norms_normalized"].tolist(), strict=True))
    compared = 0
    for ours, parameter in decoder_of(model).named_parameters():
        theirs, transform = foreign_name(f"decoder.{ours}", model)
        assert parameter.grad is not None, ours
        assert parameter.grad.norm().item() == pytest.approx(norms[theirs], rel=1e-4), ours
        if f"grad/{theirs}" in reference:
            assert difference(transform(parameter.grad), torch.from_numpy(reference[f"grad/{theirs}"])) < 1e-4, ours
            compared += 1
    assert compared > 30


@pytest.mark.parametrize("mode", ["batch", "single", "max_seq_len_4"])
@torch.inference_mode()
def test_the_search_finds_the_reference_hypotheses(model: AED, reference: dict[str, np.ndarray], mode: str) -> None:
    beams = json.loads((FOLDER / "beam.json").read_text())
    decoder, encoded = decoder_of(model), encoded_of(reference)
    rows = [[row] for row in range(4)] if mode == "single" else [[0, 1, 2, 3]]
    for chosen in rows:
        part = encoded.select(torch.tensor(chosen))
        limits = part.lengths if mode != "max_seq_len_4" else torch.full_like(part.lengths, 4)
        found = beam_search(decoder, decoder.memory(part), limits, beam=beams["beam_size"], length_normalization=1.0)
        scores = reference_scores(found, 1.0)
        for place, row in enumerate(chosen):
            for rank, expected in enumerate(beams[mode][row]):
                length = expected["length"]
                assert found.lengths[place, rank] == length
                assert found.labels[place, rank, :length].tolist() == expected["raw_labels_full"][:length]
                assert scores[place, rank].item() == pytest.approx(expected["score"], abs=TOLERANCE)
