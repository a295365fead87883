from __future__ import annotations

import weakref
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from aedo.experiment import Experiment
from aedo.features.logmel import Features
from aedo.model.aed import AED
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels, pack
from aedo.model.lstm_decoder import LstmDecoder, LstmDecoderConfig
from aedo.nn.masks import length_mask


@pytest.fixture(scope="module")
def model() -> AED:
    torch.manual_seed(0)
    small = {"channels": (2, 2, 4)}
    encoder = {
        "layers": 1,
        "dim": 8,
        "attention": {"heads": 2},
        "feed_forward": {"dim": 8},
        "convolution": {"kernel": 3},
    }
    decoder = {"embedding_dim": 4, "attention_dim": 6, "lstm_dim": 5, "readout_dim": 6}
    tree = {"frontend": small, "encoder": encoder, "ctc": {"layers": (1,)}, "decoder": decoder}
    return Experiment.model_validate(tree).build_model(7).eval()


FEATURES = Features(torch.randn(3, 60, 80, generator=torch.Generator().manual_seed(1)), torch.tensor([60, 35, 50]))
LABELS = Labels(torch.tensor([[3, 1, 0], [5, 2, 6], [4, 0, 0]]), torch.tensor([2, 3, 1]))


def test_teacher_forcing_equals_step_by_step(model: AED) -> None:
    encoded, labels = model.encode(FEATURES), LABELS.with_eos()
    assert model.decoder is not None
    packed = model.decoder(encoded, labels, keep_attention=True)
    memory = model.decoder.memory(encoded)
    state, previous = model.decoder.start(memory), None
    for position in range(labels.ids.shape[1]):
        logits, state = model.decoder.step(memory, previous, state)
        at = packed.packing.positions == position
        rows = packed.packing.rows[at]
        torch.testing.assert_close(packed.logits[at], logits[rows, 0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(packed.attention[at], state.weights[rows, 0], rtol=1e-5, atol=1e-6)
        previous = labels.ids[:, position : position + 1]


def test_an_utterance_alone_gives_what_it_gives_in_a_batch(model: AED) -> None:
    outputs = model(FEATURES, LABELS)
    for row in range(3):
        length = int(FEATURES.lengths[row])
        count = int(LABELS.lengths[row])
        alone = model(
            Features(FEATURES.values[row : row + 1, :length], torch.tensor([length])),
            Labels(LABELS.ids[row : row + 1, :count], torch.tensor([count])),
        )
        mine = outputs.decoder.packing.rows == row
        torch.testing.assert_close(outputs.decoder.logits[mine], alone.decoder.logits, rtol=1e-4, atol=1e-5)


def test_hypotheses_are_reordered_by_gather(model: AED) -> None:
    assert model.decoder is not None
    memory = model.decoder.memory(model.encode(FEATURES))
    _, state = model.decoder.step(memory, None, model.decoder.start(memory))
    rows, back = torch.tensor([2, 0]), torch.tensor([[0, 0], [0, 0]])
    gathered = state.gather(rows, back)
    assert gathered.context.shape == (2, 2, 8)
    assert torch.equal(gathered.lstm.hidden[0, 1], state.lstm.hidden[2, 0])


def test_packing_names_every_label_once() -> None:
    packing = pack(torch.tensor([2, 3, 1]), torch.device("cpu"))
    assert packing.order.tolist() == [1, 0, 2]
    assert packing.active == (3, 2, 1)
    assert sorted(zip(packing.rows.tolist(), packing.positions.tolist())) == [
        (0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0),
    ]  # fmt: skip


def test_gradients_reach_every_parameter(model: AED) -> None:
    outputs = model(FEATURES, LABELS)
    (outputs.decoder.logits.sum() + sum(logits.sum() for logits in outputs.ctc_logits.values())).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    model.zero_grad()


SMALL: dict[str, Any] = {"embedding_dim": 3, "attention_dim": 4, "lstm_dim": 3, "readout_dim": 4}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "zoned output": {"zoned_output": True},
    "stacked": {"second": "stacked"},
    "language model": {"second": "language_model"},
    "two heads": {"attention_heads": 2},
    "two heads, stacked": {"attention_heads": 2, "second": "stacked"},
    "zoneout of its own for each": {"zone_share": "none", "zoned_output": True},
    "without feedback": {"weight_feedback": False, "attention_heads": 2},
}


def small(**fields: Any) -> LstmDecoder:
    torch.manual_seed(4)
    return LstmDecoderConfig.model_validate({**SMALL, **fields}).build(3, 5)


@pytest.mark.parametrize("loop", ["fast", "plain"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_right_in_double_precision(form: str, training: bool, loop: Literal["fast", "plain"]) -> None:
    decoder = small(**FORMS[form]).double().train(training)
    decoder.loop = loop
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    lengths = torch.tensor([4, 2])
    mask = length_mask(lengths, 4, lengths.device)
    labels = Labels(torch.tensor([[3, 0], [4, 2]]), torch.tensor([1, 2])).with_eos()
    names = [name for name, _ in decoder.named_parameters()]

    def logits(states: Tensor, *values: Tensor) -> Tensor:
        torch.manual_seed(3)  # the same zoneout and dropout each time
        arguments = (Encoded(states, lengths, mask, {}), labels)
        found: Tensor = torch.func.functional_call(decoder, dict(zip(names, values, strict=True)), arguments).logits
        return found

    states = torch.randn(2, 4, 3, dtype=torch.float64)
    inputs = [value.detach().clone().requires_grad_() for value in (states, *decoder.parameters())]
    assert torch.autograd.gradcheck(logits, inputs, fast_mode=True)


def passed(decoder: LstmDecoder, loop: Literal["fast", "plain"]) -> dict[str, Tensor]:
    """Logits, attention and all gradients of a batch in which sequences end at different steps."""
    torch.manual_seed(5)
    decoder.loop = loop
    decoder.zero_grad()
    dtype = decoder.output.weight.dtype
    lengths = torch.tensor([19, 11, 19, 5])
    states = torch.randn(4, 19, 3, dtype=dtype, requires_grad=True)
    labels = Labels(torch.randint(1, 5, (4, 6)), torch.tensor([2, 6, 1, 4])).with_eos()
    encoded = Encoded(states, lengths, length_mask(lengths, 19, lengths.device), {})
    output = decoder(encoded, labels, keep_attention=True)
    output.logits.to(dtype).cos().sum().backward()
    assert output.attention is not None
    assert states.grad is not None
    gradients = {name: each.grad.clone() for name, each in decoder.named_parameters() if each.grad is not None}
    return {
        "logits": output.logits.detach(),
        "attention": output.attention.detach(),
        "states": states.grad,
        **gradients,
    }


def drawn(form: str, training: bool) -> LstmDecoder:
    """Wide enough for dropout to leave something."""
    decoder = small(**FORMS[form], lstm_dim=16, attention_dim=24, readout_dim=32).train(training)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return decoder


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_fast_loop_gives_what_the_plain_one_gives(
    form: str, training: bool, dtype: torch.dtype, bound: float
) -> None:
    decoder = drawn(form, training).to(dtype)
    fast, plain = passed(decoder, "fast"), passed(decoder, "plain")
    assert fast.keys() == plain.keys()
    for name, expected in plain.items():
        assert (fast[name] - expected).norm() <= bound * expected.norm(), name


def looped(decoder: LstmDecoder, loop: Literal["fast", "plain"], *, lowered: bool) -> list[Tensor]:
    """Outputs, contexts and gradients of the loop alone, in bfloat16 or not."""
    torch.manual_seed(9)
    decoder.loop = loop
    decoder.zero_grad()
    states, entering = torch.randn(3, 20, 32, requires_grad=True), torch.randn(24, 16, requires_grad=True)
    lengths, mask = torch.tensor([20, 20, 20]), torch.ones(3, 20, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
        memory = decoder.memory(Encoded(states, lengths, mask, {}))
        outputs, contexts, _ = decoder.attend(entering, memory, (3,) * 8)
    (outputs.sin().sum() + contexts.float().sin().sum()).backward()
    used = (states, entering, *decoder.parameters())
    return [outputs.detach(), contexts.detach().float(), *(each.grad for each in used if each.grad is not None)]


@pytest.mark.parametrize("heads", [1, 2])
def test_under_autocast_the_fast_loop_is_nearer_to_single_precision_than_the_plain_one(heads: int) -> None:
    torch.manual_seed(1)
    sizes = {"embedding_dim": 16, "attention_dim": 64, "lstm_dim": 48, "readout_dim": 4, "attention_heads": heads}
    decoder = LstmDecoderConfig.model_validate(sizes).build(32, 5)
    exact = looped(decoder, "plain", lowered=False)
    fast, plain = (
        [float((ours - value).norm() / value.norm()) for ours, value in zip(found, exact, strict=True)]
        for found in (looped(decoder, "fast", lowered=True), looped(decoder, "plain", lowered=True))
    )
    assert max(fast) < 0.02
    assert sum(fast) < sum(plain)


def test_the_fast_loop_gives_gradients_twice_where_the_graph_is_kept() -> None:
    decoder = small().eval()
    encoded = Encoded(torch.randn(1, 4, 3), torch.tensor([4]), torch.ones(1, 4, dtype=torch.bool), {})
    loss = decoder(encoded, Labels(torch.tensor([[3, 2, 0]]), torch.tensor([3]))).logits.square().sum()
    first, second = (torch.autograd.grad(loss, list(decoder.parameters()), retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))


def test_the_fast_loop_leaves_nothing_behind() -> None:
    decoder, states = small(), torch.randn(1, 4, 3)
    encoded = Encoded(states, torch.tensor([4]), torch.ones(1, 4, dtype=torch.bool), {})
    logits = decoder(encoded, Labels(torch.tensor([[3, 2, 0]]), torch.tensor([3]))).logits
    kept = weakref.ref(states)
    del logits, encoded, states  # freed at once, not when a garbage collector finds a circle
    assert kept() is None


@pytest.mark.parametrize("form", FORMS)
def test_a_step_of_a_search_gives_the_same_with_gradients_and_without_and_from_tables(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = drawn(form, training=False)
    lengths = torch.tensor([9, 5])
    encoded = Encoded(torch.randn(2, 9, 3), lengths, length_mask(lengths, 9, lengths.device), {})
    found = []
    for grad, table in ((True, 0), (False, 0), (False, 10_000)):
        monkeypatch.setattr(decoder.products, "TABLE", table)
        with torch.set_grad_enabled(grad):
            memory = decoder.memory(encoded)
            _, state = decoder.step(memory, None, decoder.start(memory))
            state = state.gather(torch.arange(2), torch.zeros(2, 3, dtype=torch.int64))
            logits, state = decoder.step(memory, torch.tensor([[1, 2, 3], [4, 3, 1]]), state)
            found.append((logits, state.weights, state.accumulated, state.lstm.cell))
        made = [kept.parts is not None for kept in decoder.products._tables.values()]
        assert made == ([True, True] if table else [])  # of an LSTM and of the read-out
    for with_gradients, *without in zip(*found, strict=True):
        for each in without:
            torch.testing.assert_close(each, with_gradients, rtol=1e-4, atol=1e-5)


def test_a_training_step_gives_back_what_searches_made_ready(model: AED) -> None:
    encoded, decoder = model.encode(FEATURES), model.decoder
    assert isinstance(decoder, LstmDecoder)
    with torch.inference_mode():
        memory = decoder.memory(encoded)
        state = decoder.start(memory).gather(torch.arange(3), torch.zeros(3, 4, dtype=torch.int64))
        decoder.step(memory, LABELS.ids[:, :1].expand(3, 4), state)
        model.decoder(encoded, LABELS.with_eos())
        assert decoder.products._kept
    model.decoder(encoded, LABELS.with_eos())
    assert not decoder.products._kept
    assert not decoder.products._tables


@pytest.mark.parametrize("second", ["stacked", "language_model"])
def test_a_second_lstm_brings_its_own_parameters_and_the_others_keep_their_names(second: str) -> None:
    plain, both = small().state_dict(), small(second=second).state_dict()
    assert set(plain) == {
        "embedding.weight", "attention.key.weight", "attention.key.bias", "attention.fertility.weight",
        "attention.feedback.weight", "attention.query.weight", "attention.energy.weight", "lstm.weight_input",
        "lstm.weight_hidden", "lstm.bias", "readout.weight", "readout.bias", "output.weight", "output.bias",
    }  # fmt: skip
    assert set(both) - set(plain) == {f"{second}.{name}" for name in ("weight_input", "weight_hidden", "bias")}
    if second == "stacked":  # drawn behind all others, which start as they would without it
        assert all(torch.equal(both[name], value) for name, value in plain.items())


def test_a_stacked_lstm_sees_the_new_context_and_has_no_say_in_where_to_look() -> None:
    decoder = small(second="stacked").eval()
    encoded = Encoded(torch.randn(1, 4, 3), torch.tensor([4]), torch.ones(1, 4, dtype=torch.bool), {})
    labels = Labels(torch.tensor([[3, 2, 0]]), torch.tensor([3]))
    before = decoder(encoded, labels, keep_attention=True)
    with torch.no_grad():
        assert decoder.stacked is not None
        decoder.stacked.weight_input.add_(1.0)
    after = decoder(encoded, labels, keep_attention=True)
    assert torch.equal(before.attention, after.attention)
    assert (before.logits != after.logits).any(1).all()


def test_a_language_model_lstm_sees_labels_alone() -> None:
    decoder = small(second="language_model").eval()
    seen: list[Tensor] = []
    assert decoder.language_model is not None
    unroll = decoder.language_model.unroll
    decoder.language_model.unroll = lambda x, active: seen.append(unroll(x, active)) or seen[-1]  # type: ignore[method-assign, func-returns-value]
    labels = Labels(torch.tensor([[3, 2, 0]]), torch.tensor([3]))
    for _ in range(2):
        decoder(Encoded(torch.randn(1, 4, 3), torch.tensor([4]), torch.ones(1, 4, dtype=torch.bool), {}), labels)
    assert torch.equal(seen[0], seen[1])
    assert seen[0].shape == (3, 3)
