from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_model, save_model

from aedo.experiment import Experiment
from aedo.features.logmel import Features
from aedo.losses.objective import Objective
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels
from aedo.model.lstm_decoder import LstmDecoderConfig
from aedo.model.transformer_decoder import TransformerDecoder, TransformerDecoderConfig
from aedo.nn.masks import length_mask
from aedo.recipes.names import resolve
from aedo.schedule import START
from aedo.search.beam import beam_search
from aedo.search.scorer import Scorer

PLAIN: dict[str, Any] = {
    "kind": "transformer",
    "layers": 3,
    "dim": 8,
    "heads": 2,
    "feed_forward": {"dim": 12, "activation": "relu"},
}
LATER: dict[str, Any] = PLAIN | {
    "feed_forward": {"dim": 12, "activation": "swiglu", "bias": False},
    "norm": "rms",
    "rotary": True,
    "self_attention_bias": False,
    "shared_embedding": True,
    "embedding_scale": 3.0,
    "auxiliary": (1, 2),
    "input_dropout": 0.1,
}
FORMS = pytest.mark.parametrize("form", [PLAIN, LATER], ids=["plain", "later"])
FEATURES = Features(torch.randn(3, 60, 80, generator=torch.Generator().manual_seed(1)), torch.tensor([60, 35, 50]))
LABELS = Labels(torch.tensor([[3, 1, 0], [5, 2, 6], [4, 0, 0]]), torch.tensor([2, 3, 1]))


def experiment_of(form: dict[str, Any]) -> Experiment:
    encoder = {
        "layers": 1,
        "dim": 10,
        "attention": {"heads": 2},
        "feed_forward": {"dim": 8},
        "convolution": {"kernel": 3},
    }
    tree = {"frontend": {"channels": (2, 2, 4)}, "encoder": encoder, "ctc": {"layers": (1,)}, "decoder": form}
    return Experiment.model_validate(tree)


def model_of(form: dict[str, Any]) -> AED:
    torch.manual_seed(0)
    return experiment_of(form).build_model(7).eval()


def decoder_of(form: dict[str, Any]) -> TransformerDecoder:
    torch.manual_seed(0)
    decoder = TransformerDecoderConfig.model_validate(form).build(10, 7).eval()
    for parameter in decoder.parameters():  # nothing stays zero or one: every parameter counts
        torch.nn.init.normal_(parameter, std=0.5)
    return decoder


def encoded_of(lengths: list[int], dtype: torch.dtype = torch.float32) -> Encoded:
    states = torch.randn(len(lengths), max(lengths), 10, generator=torch.Generator().manual_seed(2)).to(dtype)
    cpu = torch.tensor(lengths)
    return Encoded(states, cpu, length_mask(cpu, max(lengths), states.device), {})


@FORMS
def test_teacher_forcing_equals_step_by_step(form: dict[str, Any]) -> None:
    decoder, encoded, labels = decoder_of(form), encoded_of([5, 9, 2]), LABELS.with_eos()
    packed = decoder(encoded, labels, keep_attention=True)
    memory = decoder.memory(encoded)
    state, previous = decoder.start(memory), None
    assert packed.attention is not None
    for position in range(labels.ids.shape[1]):
        logits, state = decoder.step(memory, previous, state)
        at = packed.packing.positions == position
        rows = packed.packing.rows[at]
        torch.testing.assert_close(packed.logits[at], logits[rows, 0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(packed.attention[at], state.weights[rows, 0], rtol=1e-5, atol=1e-6)
        previous = labels.ids[:, position : position + 1]


@FORMS
def test_a_label_depends_on_those_before_it_alone(form: dict[str, Any]) -> None:
    decoder, encoded = decoder_of(form), encoded_of([6])
    labels = Labels(torch.tensor([[3, 1, 5, 2, 6]]), torch.tensor([5]))
    other = Labels(torch.tensor([[3, 1, 4, 2, 6]]), torch.tensor([5]))
    one, two = decoder(encoded, labels).logits, decoder(encoded, other).logits
    assert torch.equal(one[:3], two[:3])
    assert ((one[3:] - two[3:]).abs().amax(1) > 1e-3).all()


@FORMS
def test_an_utterance_alone_gives_what_it_gives_in_a_batch(form: dict[str, Any]) -> None:
    model = model_of(form)
    outputs = model(FEATURES, LABELS)
    for row in range(3):
        length, count = int(FEATURES.lengths[row]), int(LABELS.lengths[row])
        alone = model(
            Features(FEATURES.values[row : row + 1, :length], torch.tensor([length])),
            Labels(LABELS.ids[row : row + 1, :count], torch.tensor([count])),
        )
        mine = outputs.decoder.packing.rows == row
        torch.testing.assert_close(outputs.decoder.logits[mine], alone.decoder.logits, rtol=1e-4, atol=1e-5)


def test_what_stands_in_the_padding_changes_nothing() -> None:
    decoder, encoded = decoder_of(PLAIN), encoded_of([9, 4])
    noisy = Encoded(
        encoded.states.masked_fill(~encoded.mask[..., None], 1e3), encoded.lengths, encoded.mask, encoded.layers
    )
    labels = Labels(torch.tensor([[3, 0], [4, 5]]), torch.tensor([2, 1]))
    noisy_labels = Labels(torch.tensor([[3, 0], [4, 6]]), torch.tensor([2, 1]))
    assert torch.equal(decoder(encoded, labels).logits, decoder(noisy, noisy_labels).logits)


@FORMS
def test_hypotheses_and_utterances_are_chosen_together_with_their_caches(form: dict[str, Any]) -> None:
    decoder, encoded = decoder_of(form), encoded_of([5, 9, 2])
    memory = decoder.memory(encoded)
    _, state = decoder.step(memory, None, decoder.start(memory))
    wide = state.gather(torch.arange(3), torch.zeros(3, 2, dtype=torch.int64))
    _, wide = decoder.step(memory, torch.tensor([[1, 2], [3, 4], [5, 6]]), wide)
    rows, back = torch.tensor([2, 0]), torch.tensor([[1, 0], [0, 0]])
    chosen = wide.gather(rows, back)
    logits, _ = decoder.step(memory.select(rows), torch.tensor([[3, 3], [2, 1]]), chosen)
    for at, (row, history) in {(0, 0): (2, [6, 3]), (0, 1): (2, [5, 3]), (1, 1): (0, [1, 1])}.items():
        forced = Labels(torch.tensor([[*history, 0]]), torch.tensor([3]))
        alone = decoder(encoded.select(torch.tensor([row])), forced).logits[2]
        torch.testing.assert_close(logits[at], alone, rtol=1e-5, atol=1e-5)


def test_the_search_scores_a_hypothesis_as_teacher_forcing_does() -> None:
    decoder, encoded = decoder_of(PLAIN), encoded_of([4])
    scorer: Scorer[Any, Any] = decoder
    found = beam_search(scorer, decoder.memory(encoded), torch.tensor([3]), beam=300, length_normalization=0.0)
    uncut = {h.labels: h.score for h in found.hypotheses(0) if len(h.labels) < 2}
    assert set(uncut) == {(), *((label,) for label in range(1, 7))}
    for labels, score in uncut.items():
        output = decoder(encoded, Labels(torch.tensor([[*labels, 0]]), torch.tensor([len(labels) + 1])))
        log_probs = output.logits.log_softmax(-1).gather(1, output.targets[:, None])
        assert score == pytest.approx(log_probs.sum().item(), abs=1e-4)


@FORMS
def test_gradients_are_those_of_finite_differences(form: dict[str, Any]) -> None:
    decoder = decoder_of(form | {"layers": 2, "dim": 4, "auxiliary": (1,) if "auxiliary" in form else ()}).double()
    encoded = encoded_of([3, 2], torch.float64)
    labels = Labels(torch.tensor([[3, 0], [4, 5]]), torch.tensor([1, 2])).with_eos()
    names = [name for name, _ in decoder.named_parameters()]

    def outputs(states: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        arguments = (Encoded(states, encoded.lengths, encoded.mask, {}), labels)
        found = torch.func.functional_call(decoder, dict(zip(names, values, strict=True)), arguments)
        return torch.cat([found.logits, *found.auxiliary.values()])

    inputs = [encoded.states, *(parameter.detach() for parameter in decoder.parameters())]
    assert torch.autograd.gradcheck(outputs, [value.clone().requires_grad_() for value in inputs], fast_mode=True)


@FORMS
def test_gradients_reach_every_parameter_and_every_head_has_its_terms(form: dict[str, Any]) -> None:
    model, experiment = model_of(form), experiment_of(form)
    losses = Objective(experiment.loss, experiment.ctc)(model(FEATURES, LABELS), LABELS, START)
    losses.total.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    lower = [f"{term}_{layer}" for layer in form.get("auxiliary", ()) for term in ("ce", "ler")]
    assert [term.name for term in losses.terms] == ["ce", "ler", *lower, "ctc_1"]


@FORMS
def test_saved_weights_come_back(form: dict[str, Any], tmp_path: Path) -> None:
    model, other = model_of(form), experiment_of(form).build_model(7).eval()
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(other, str(tmp_path / "model.safetensors"))
    assert torch.equal(model(FEATURES, LABELS).decoder.logits, other(FEATURES, LABELS).decoder.logits)


def test_full_size_has_the_parameters_of_a_hand_calculation() -> None:
    """Per layer: two attentions of 4 d^2 + 4 d each, 2 d f + f + d in the feed-forward network, three norms of 2 d."""
    config = resolve("24gb-v6-trafodec6").decoder
    assert config is not None
    with torch.device("meta"):
        decoder = config.build(512, 10_025)
    assert isinstance(decoder, TransformerDecoder)
    d, f, v = 512, 2048, 10_025
    layer = 2 * (4 * d * d + 4 * d) + (2 * d * f + f + d) + 3 * 2 * d
    assert layer == 4_204_032
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 6 * layer + 2 * d + 2 * v * d == 35_490_816
    shapes = {name: tuple(parameter.shape) for name, parameter in decoder.layers[5].named_parameters()}
    assert shapes == {
        "attention.qkv.weight": (3 * d, d),
        "attention.qkv.bias": (3 * d,),
        "attention.out.weight": (d, d),
        "attention.out.bias": (d,),
        "cross_attention.query.weight": (d, d),
        "cross_attention.query.bias": (d,),
        "cross_attention.key_value.weight": (2 * d, d),
        "cross_attention.key_value.bias": (2 * d,),
        "cross_attention.out.weight": (d, d),
        "cross_attention.out.bias": (d,),
        "ff.hidden.weight": (f, d),
        "ff.hidden.bias": (f,),
        "ff.out.weight": (d, f),
        "ff.out.bias": (d,),
        **{
            f"{part}_norm.{name}": (d,)
            for part in ("attention", "cross_attention", "ff")
            for name in ("weight", "bias")
        },
    }


def test_initial_weights_are_uniform_within_the_limits_of_the_reference() -> None:
    torch.manual_seed(0)
    decoder = TransformerDecoderConfig(layers=1, dim=64).build(48, 1000)
    block = decoder.layers[0]
    for weight, limit in {
        block.attention.qkv.weight: math.sqrt(6 / (64 + 192)),
        block.cross_attention.query.weight: math.sqrt(3 / (64 + 64)),
        block.cross_attention.key_value.weight: math.sqrt(4.5 / (48 + 128)),
        block.cross_attention.out.weight: math.sqrt(6 / (64 + 64)),
        decoder.embedding.weight: math.sqrt(6 / (1000 + 64)),
    }.items():
        assert weight.abs().max().item() == pytest.approx(limit, rel=1e-2)
        assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)


def test_dropout_acts_in_training_only_and_off_means_off() -> None:
    decoder, encoded, labels = (
        decoder_of(LATER | {"attention_fused": "never"}),  # fused, evaluation has other rounding errors
        encoded_of([6, 4]),
        Labels(torch.tensor([[3], [4]]), torch.ones(2).long()),
    )
    still = decoder(encoded, labels).logits
    assert torch.equal(decoder(encoded, labels).logits, still)
    assert not torch.equal(decoder.train()(encoded, labels).logits, still)
    quiet = {"dropout": {"rate": 0.0}, "attention_dropout": 0.0, "input_dropout": 0.0}
    silent = TransformerDecoderConfig.model_validate(LATER | quiet).build(10, 7).train()
    silent.load_state_dict(decoder.state_dict())
    assert torch.equal(silent(encoded, labels).logits, still)


def test_an_auxiliary_head_starts_as_a_copy_of_the_output_layer() -> None:
    for form in (LATER, PLAIN | {"auxiliary": (2,)}):
        decoder = TransformerDecoderConfig.model_validate(form).build(10, 7)
        output = decoder.embedding.weight if decoder.output is None else decoder.output.weight
        copy = decoder.auxiliary["2"].output.weight
        assert torch.equal(copy, output)
        assert copy.data_ptr() != output.data_ptr()


def test_trees_written_before_there_were_two_decoders_still_load() -> None:
    tree = json.loads(Experiment().model_dump_json())
    assert tree["decoder"].pop("kind") == "lstm"
    assert Experiment.model_validate(tree).decoder == LstmDecoderConfig()
    restored = Experiment.model_validate(json.loads(resolve("24gb-v6-trafodec6").model_dump_json()))
    assert restored == resolve("24gb-v6-trafodec6")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "dim 8 is not divisible by heads 3"),
        ({"dim": 9, "heads": 3}, "dim 9 is odd"),
        ({"dim": 6, "rotary": True}, "rotary needs heads of even size, not 6 / 2"),
        ({"auxiliary": (3,)}, r"auxiliary \[3\] do not lie below the last of 3 layers"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TransformerDecoderConfig.model_validate(PLAIN | change)


def test_layers_are_passed_over_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aedo.model.transformer_decoder.kept_layers", lambda count, rate: [rate == 0.0] * count)
    form = {"layers": 2, "dim": 8, "heads": 2, "dropout": {"rate": 0.0}, "attention_dropout": 0.0}
    decoder = TransformerDecoderConfig.model_validate({**form, "layer_drop": 0.5}).build(10, 11)
    encoded, labels = encoded_of([4]), Labels(torch.tensor([[3, 4, 0]]), torch.tensor([3]))
    # Without layers nothing of the encoder is left: the label before alone decides.
    other = Encoded(encoded.states + 1, encoded.lengths, encoded.mask, {})
    torch.testing.assert_close(decoder(encoded, labels).logits, decoder(other, labels).logits, atol=0, rtol=0)
    decoder.eval()
    assert not torch.equal(decoder(encoded, labels).logits, decoder(other, labels).logits)
