"""Multiply-adds against hand calculations, and against what torch counts in a real pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aedo.bench.work import search_work, work_of
from aedo.experiment import Experiment
from aedo.model.labels import Labels
from tests.train.micro import micro_experiment

SAMPLES, LABELS, VOCABULARY = 16_000, 6, 11
FRAMES = (98, 98, 33, 17)
"""Of the features, and behind each convolution."""


def test_a_tiny_model_by_hand() -> None:
    work = work_of(micro_experiment(), VOCABULARY, [(SAMPLES, LABELS)])
    frames, dim = FRAMES[-1], 8
    assert work.features == 98 * 257 * 80
    assert work.first == 98 * 80 * 9 * 1 * 2
    assert work.frontend == 33 * 40 * 9 * 2 * 2 + 17 * 40 * 9 * 2 * 2 + 17 * 40 * 2 * dim
    feed_forward = 2 * frames * dim * 8 * 2
    attention = frames * dim * 4 * dim + 2 * frames * frames * dim + frames * 33 * dim
    convolution = frames * dim * (2 * dim + 4 + dim)
    assert work.encoder == 2 * (feed_forward + attention + convolution)
    assert work.ctc == 2 * frames * dim * (VOCABULARY + 1)
    step = 4 * 8 * (4 + dim + 8) + 8 * 4 + frames * (4 + 4 + dim) + (8 + 4 + dim) * 4 + 2 * VOCABULARY
    assert work.decoder == frames * dim * (4 + 1) + (LABELS + 1) * step
    assert search_work(micro_experiment(), VOCABULARY, frames, 3, 5) == frames * dim * 5 + 11 * step


def test_two_utterances_need_as_much_as_each_alone() -> None:
    alone = [work_of(micro_experiment(), VOCABULARY, [size]) for size in ((SAMPLES, LABELS), (9_000, 2))]
    together = work_of(micro_experiment(), VOCABULARY, [(SAMPLES, LABELS), (9_000, 2)])
    assert together == alone[0] + alone[1]


ENCODERS: dict[str, dict[str, Any]] = {
    "conformer": {"attention": {"heads": 2, "position": {"kind": "none"}, "fused": "never"}},
    "swiglu": {
        "attention": {"heads": 2, "position": {"kind": "none"}, "fused": "never"},
        "feed_forward": {"dim": 8, "activation": "swiglu"},
    },
    "transformer_xl": {"attention": {"heads": 2, "position": {"kind": "transformer_xl"}, "fused": "never"}},
    "ebranchformer": {
        "kind": "ebranchformer",
        "attention": {"heads": 2, "position": {"kind": "none"}, "fused": "never"},
    },
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_and_its_heads_as_torch_counts_them(kind: str) -> None:
    tree = micro_experiment().model_dump()
    del tree["encoder"]
    experiment = Experiment.model_validate({**tree, "encoder": {"layers": 2, "dim": 8, **ENCODERS[kind]}})
    model, work = experiment.build_model(VOCABULARY).eval(), work_of(experiment, VOCABULARY, [(SAMPLES, LABELS)])
    features = model.features(torch.rand(1, SAMPLES), torch.tensor([SAMPLES]))
    encoded, counted = _counted(lambda: model.encode(features))
    expected = work.first + work.frontend + work.encoder
    if kind == "transformer_xl":  # computed for all distances, needed for as many as there are keys
        expected += 2 * FRAMES[-1] * (FRAMES[-1] - 1) * 8
    assert counted == expected
    _, counted = _counted(lambda: [model.ctc_log_probs(encoded, layer) for layer in model.ctc_layers])
    assert counted == work.ctc


def test_a_transformer_decoder_as_torch_counts_it() -> None:
    tree = {**micro_experiment().model_dump(), "decoder": {"kind": "transformer", "layers": 2, "dim": 8, "heads": 2}}
    tree["decoder"]["attention_fused"] = "never"
    experiment = Experiment.model_validate(tree)
    model = experiment.build_model(VOCABULARY).eval()
    features = model.features(torch.rand(1, SAMPLES), torch.tensor([SAMPLES]))
    encoded = model.encode(features)
    labels = Labels(torch.ones(1, LABELS, dtype=torch.int64), torch.tensor([LABELS]))
    assert model.decoder is not None
    _, counted = _counted(lambda: model.decoder(encoded, labels.with_eos()))  # type: ignore[misc]
    labels_with_eos, dim = LABELS + 1, 8
    future = 2 * (labels_with_eos * (labels_with_eos - 1)) * dim  # two layers; computed, and then masked
    assert counted == work_of(experiment, VOCABULARY, [(SAMPLES, LABELS)]).decoder + future


def test_a_recurrent_frontend_counts_both_directions() -> None:
    tree = {**micro_experiment().model_dump(), "frontend": {"kind": "blstm", "units": 5}}
    work = work_of(Experiment.model_validate(tree), VOCABULARY, [(SAMPLES, LABELS)])
    assert work.first == 2 * 98 * 4 * 5 * 80
    assert work.frontend == 2 * 98 * 4 * 5 * 5 + 2 * 33 * 4 * 5 * (10 + 5) + 17 * 10 * 8


def test_chunks_are_heard_with_what_they_share_and_attended_to_one_by_one() -> None:
    streaming = {"kept": 3, "look_ahead": 2, "history": 1}
    tree = micro_experiment().model_dump()
    tree["encoder"]["streaming"] = streaming
    tree["decoder"]["weight_feedback"] = False
    work = work_of(Experiment.model_validate(tree), VOCABULARY, [(SAMPLES, LABELS)])
    chunks, each, dim = 6, 5, 8  # 98 feature frames, a chunk every 18; of 30 feature frames, 5 encoder frames
    assert work.first == chunks * 30 * 80 * 9 * 2
    frames, pairs = chunks * each, each * (chunks * each + 5 * 3)
    block = frames * dim * (2 * 2 * 8 + 4 * dim + 33 + 2 * dim + 4 + dim) + 2 * pairs * dim
    assert work.encoder == 2 * block
    assert work.ctc == 2 * FRAMES[-1] * dim * (VOCABULARY + 1)
    step = 4 * 8 * (4 + dim + 8) + 8 * 4 + 3 * (4 + dim) + (8 + 4 + dim) * 4 + 2 * VOCABULARY
    assert work.decoder == FRAMES[-1] * dim * 4 + (LABELS + chunks) * step


def test_a_training_needs_everything_three_times_but_no_gradient_of_the_features() -> None:
    work = work_of(micro_experiment(), VOCABULARY, [(SAMPLES, LABELS)])
    forward = work.first + work.frontend + work.encoder + work.ctc + work.decoder
    assert work.training == work.features + 3 * forward - work.first


def _counted(call: Any) -> tuple[Any, int]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = call()
    return result, counter.get_total_flops() // 2
