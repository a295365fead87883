"""What every variant of front-end, encoder and decoder must show; the table stands in `variants.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model, save_model

from aedo.features.logmel import Features
from aedo.losses.objective import Objective
from aedo.model.aed import AED
from aedo.model.labels import Labels
from aedo.schedule import START
from aedo.search.beam import beam_search
from aedo.search.scorer import Scorer
from tests.model.variants import VARIANTS, tiny

V = 7
FEATURES = Features(torch.randn(3, 90, 80, generator=torch.Generator().manual_seed(1)), torch.tensor([90, 57, 71]))
LABELS = Labels(torch.tensor([[3, 1, 0], [5, 2, 6], [4, 0, 0]]), torch.tensor([2, 3, 1]))

EVERY = pytest.mark.parametrize("variant", VARIANTS)
WITH_DECODER = pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "ctconly" and "chunkaed" not in v])
"""Those of streaming models say ends of chunks, too: tests/model/test_chunked.py."""

E, A, H, R, D, F = 32, 64, 64, 64, 64, 128
"""Label embedding, attention, LSTM, read-out, model, feed-forward network."""


def lstm(inputs: int) -> int:
    """Four gates: a matrix over the inputs, one over the state, a bias."""
    return 4 * H * (inputs + H + 1)


def lstm_decoder(heads: int = 1, entering: int = E, second: int = 0) -> int:
    context = heads * D
    attention = (D * A + A) + heads * (D + A + A) + H * A  # key; fertility, feedback and energy of each head; query
    readout = (H + E + context + 1) * R + (R // 2 + 1) * V
    return V * E + attention + lstm(entering + context) + second + readout


def transformer_decoder(layers: int, auxiliary: int = 0) -> int:
    attentions = 2 * (4 * D * D + 4 * D)
    layer = attentions + (D * F + F) + (F * D + D) + 3 * 2 * D
    return V * D + layers * layer + (1 + auxiliary) * (2 * D + D * V)


DECODERS: dict[str, int] = {
    "lstm": lstm_decoder(),
    "zoneoutput": lstm_decoder(),
    "declstm2": lstm_decoder(second=lstm(H + D)),
    "declstmlm": lstm_decoder(entering=H, second=lstm(E)),
    "decatt3": lstm_decoder(heads=3),
    "decatt2-declstm2": lstm_decoder(heads=2, second=lstm(H + 2 * D)),
    "trafodec": transformer_decoder(2),
    "auxdec": transformer_decoder(2, auxiliary=1),
    "decrmsnorm": transformer_decoder(2) - (2 * 3 + 1) * D,
    "declnnobias": transformer_decoder(2) - (2 * 3 + 1) * D,
    # no biases but in the attention to the encoder, gated networks, norms without a shift, one matrix for the labels
    "decllama": V * D + 2 * (4 * D * D + (4 * D * D + 4 * D) + 3 * D * F + 3 * D) + D,
    "nowfeedback": lstm_decoder() - (D + A),
    "chunkaed": lstm_decoder(),
    "ctconly": 0,
}


def build(variant: str) -> AED:
    torch.manual_seed(0)
    model = tiny(variant).build_model(V).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:  # nothing stays zero or one: every parameter says something
            with torch.no_grad():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def count(module: torch.nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("variant", DECODERS)
def test_parameters_of_the_decoder_are_as_many_as_by_hand(variant: str) -> None:
    assert count(build(variant).decoder) == DECODERS[variant]


@EVERY
def test_gradients_reach_every_parameter(variant: str) -> None:
    experiment, model = tiny(variant), build(variant).train()
    Objective(experiment.loss, experiment.ctc)(model(FEATURES, LABELS), LABELS, START).total.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@WITH_DECODER
def test_teacher_forcing_equals_step_by_step(variant: str) -> None:
    model, labels = build(variant), LABELS.with_eos()
    assert model.decoder is not None
    encoded = model.encode(FEATURES)
    packed = model.decoder(encoded, labels, keep_attention=True)
    memory = model.decoder.memory(encoded)
    state, previous = model.decoder.start(memory), None
    for position in range(labels.ids.shape[1]):
        logits, state = model.decoder.step(memory, previous, state)
        at = packed.packing.positions == position
        rows = packed.packing.rows[at]
        torch.testing.assert_close(packed.logits[at], logits[rows, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(packed.attention[at], state.weights[rows, 0], rtol=1e-4, atol=1e-5)
        previous = labels.ids[:, position : position + 1]


@EVERY
def test_an_utterance_alone_gives_what_it_gives_in_a_batch(variant: str) -> None:
    model = build(variant)
    outputs = model(FEATURES, LABELS)
    for row in range(3):
        length, labels = int(FEATURES.lengths[row]), int(LABELS.lengths[row])
        alone = model(
            Features(FEATURES.values[row : row + 1, :length], torch.tensor([length])),
            Labels(LABELS.ids[row : row + 1, :labels], torch.tensor([labels])),
        )
        frames = int(alone.encoded.lengths)
        for layer, logits in alone.ctc_logits.items():
            torch.testing.assert_close(outputs.ctc_logits[layer][row, :frames], logits[0], rtol=1e-4, atol=1e-5)
        if alone.decoder is not None:
            mine = outputs.decoder.packing.rows == row
            torch.testing.assert_close(outputs.decoder.logits[mine], alone.decoder.logits, rtol=1e-4, atol=1e-5)


@EVERY
def test_a_saved_model_gives_the_same(variant: str, tmp_path: Path) -> None:
    model, path = build(variant), str(tmp_path / "model.safetensors")
    save_model(model, path)
    torch.manual_seed(5)
    other = tiny(variant).build_model(V).eval()
    load_model(other, path)
    mine, theirs = model(FEATURES, LABELS), other(FEATURES, LABELS)
    assert torch.equal(mine.encoded.states, theirs.encoded.states)
    if mine.decoder is not None:
        assert torch.equal(mine.decoder.logits, theirs.decoder.logits)


@pytest.mark.parametrize("variant", [v for v in DECODERS if v not in ("ctconly", "chunkaed")])
def test_the_search_scores_a_hypothesis_as_teacher_forcing_does(variant: str) -> None:
    """Many hypotheses that change places at every step, of utterances that end at different steps."""
    model = build(variant)
    encoded = model.encode(FEATURES)
    assert model.decoder is not None
    scorer: Scorer[Any, Any] = model.decoder
    limits = torch.tensor([4, 2, 3])
    found = beam_search(scorer, model.decoder.memory(encoded), limits, beam=20, length_normalization=0.0)
    for row in range(3):
        for labels, score in found.hypotheses(row):
            if len(labels) < int(limits[row]) - 1:  # longer ones were cut off before their EOS
                forced = Labels(torch.tensor([[*labels, 0]]), torch.tensor([len(labels) + 1]))
                output = model.decoder(encoded.select(torch.tensor([row])), forced)
                log_probs = output.logits.log_softmax(-1).gather(1, output.targets[:, None])
                assert score == pytest.approx(log_probs.sum().item(), abs=1e-4)
