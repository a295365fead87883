"""The encoder over the training: growing, pooling, chunks; and that switched off nothing changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aedo.model.conformer import ConformerConfig
from aedo.model.encoder import Encoder
from aedo.nn.advance import advance
from aedo.nn.pooling import pool_time
from aedo.recipes.names import resolve
from aedo.schedule import START, Progress
from tests.train.micro import micro_experiment

CONFIG = ConformerConfig(layers=4, dim=16)


def at_step(step: int) -> Progress:
    return START._replace(micro_step=step)


def encoder(growth: tuple[tuple[int, int], ...] = ()) -> Encoder:
    torch.manual_seed(1)
    return CONFIG.with_("growth", growth).build().eval()


def test_layers_come_into_use_at_their_micro_steps() -> None:
    growing = encoder(((10, 1), (5, 2), (5, 100)))
    in_use = []
    for step in (0, 9, 10, 14, 15, 20, 10**9):
        growing.advance(at_step(step))
        in_use.append(growing.in_use)
    assert in_use == [1, 1, 2, 2, 4, 4, 4]


def test_a_layer_not_yet_in_use_gives_the_output_of_the_highest_in_use_and_gets_no_gradient() -> None:
    growing, x, lengths = encoder(((10, 2),)), torch.randn(2, 7, 16), torch.tensor([7, 4])
    whole = growing(x, lengths, (1, 2, 3, 4))
    growing.advance(at_step(0))
    lower = growing(x, lengths, (1, 2, 3, 4))
    assert torch.equal(lower.states, whole.layers[2])
    assert all(torch.equal(lower.layers[number], whole.layers[min(number, 2)]) for number in (1, 2, 3, 4))
    lower.states.sum().backward()
    trained = {name.split(".")[1] for name, parameter in growing.named_parameters() if parameter.grad is not None}
    assert trained == {"0", "1"}


def test_without_growth_every_layer_is_in_use_always() -> None:
    plain, growing = encoder(), encoder(((10, 2),))
    x, lengths = torch.randn(1, 5, 16), torch.tensor([5])
    before = plain(x, lengths).states
    plain.advance(at_step(0))
    growing.advance(at_step(10))
    assert torch.equal(plain(x, lengths).states, before)
    assert torch.equal(growing(x, lengths).states, before)


def test_stages_need_steps_and_layers() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        CONFIG.with_("growth", ((10, 0),))


def test_stages_may_be_counted_in_sub_epochs() -> None:
    growing = CONFIG.with_("growth", ((3, 1), (2, 2))).with_("growth_unit", "epoch").build()
    in_use = []
    for epoch in (0.0, 2.9, 3.0, 4.5, 5.0):
        growing.advance(START._replace(epoch=epoch))
        in_use.append(growing.in_use)
    assert in_use == [1, 1, 2, 2, 4]


QUIET: dict[str, Any] = {
    "layers": 2,
    "dim": 8,
    "feed_forward": {"dim": 16},
    "attention": {"heads": 2, "dropout": 0.0},
    "convolution": {"kernel": 4, "norm": {"kind": "layer"}},
    "dropout": {"rate": 0.0},
}


def quiet(**fields: Any) -> Encoder:
    torch.manual_seed(2)
    return ConformerConfig.model_validate({**QUIET, **fields}).build()


def test_training_on_chunks_is_running_the_encoder_on_the_pieces() -> None:
    chunked, whole = quiet(chunk=4).train(), quiet().train()
    x, lengths = torch.randn(3, 10, 8), torch.tensor([10, 4, 5])
    encoded = chunked(x, lengths, (1, 2))
    assert torch.equal(encoded.lengths, lengths)
    for row, length in enumerate(lengths.tolist()):
        for start in range(0, length, 4):
            piece = x[row : row + 1, start : min(start + 4, length)]
            alone = whole(piece, torch.tensor([piece.shape[1]]), (1, 2))
            place = slice(start, start + piece.shape[1])
            torch.testing.assert_close(encoded.states[row, place], alone.states[0])
            torch.testing.assert_close(encoded.layers[1][row, place], alone.layers[1][0])


def test_statistics_of_a_batch_norm_are_those_of_all_frames_of_all_chunks() -> None:
    batch_norm = {"convolution": {"kernel": 1, "norm": {"kind": "batch"}}, "layers": 1}
    chunked, whole = quiet(chunk=3, **batch_norm).train(), quiet(**batch_norm).train()
    with torch.no_grad():  # without attention, the frames know nothing of each other
        for model in (chunked, whole):
            model.layers[0].attention.out.weight.zero_()
    x, lengths = torch.randn(2, 7, 8), torch.tensor([7, 5])
    mine, other = chunked(x, lengths), whole(x, lengths)
    torch.testing.assert_close(mine.states[mine.mask], other.states[other.mask])
    torch.testing.assert_close(
        chunked.layers[0].convolution.norm.running_var, whole.layers[0].convolution.norm.running_var
    )


def test_recognition_sees_utterances_whole_and_chunks_as_long_as_the_batch_change_nothing() -> None:
    x, lengths = torch.randn(2, 9, 8), torch.tensor([9, 6])
    assert torch.equal(quiet(chunk=4).eval()(x, lengths).states, quiet().eval()(x, lengths).states)
    mine, other = quiet(chunk=50).train()(x, lengths), quiet().train()(x, lengths)
    assert torch.equal(mine.states[mine.mask], other.states[other.mask])


def test_padding_behind_chunks_changes_no_gradient() -> None:
    x, gradients = torch.randn(2, 6, 8), []
    for padding in (0, 5):
        model = quiet(chunk=4, attention={"heads": 2, "dropout": 0.0, "window": 2}).train()
        padded = torch.nn.functional.pad(x, (0, 0, 0, padding), value=7.0)
        encoded = model(padded, torch.tensor([6, 3]))
        encoded.states[encoded.mask].square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


POOLING = {"kind": "steps", "nodes": (10, 20), "values": (4, 2, 1)}


def test_pooling_falls_away_over_the_training() -> None:
    falling, plain = quiet(pooling=POOLING).eval(), quiet().eval()
    x, lengths = torch.randn(2, 9, 8), torch.tensor([9, 6])
    assert torch.equal(falling(x, lengths).states, plain(x, lengths).states), "a model that is only used"
    for step, factor, expected in ((0, 4, [3, 2]), (10, 2, [5, 3]), (20, 1, [9, 6])):
        falling.advance(at_step(step))
        encoded = falling(x, lengths, (1,))
        assert encoded.lengths.tolist() == expected
        assert encoded.mask.sum(1).tolist() == expected
        by_hand = plain(*pool_time(x, lengths, factor)).states
        torch.testing.assert_close(encoded.states[encoded.mask], by_hand[encoded.mask])
        assert encoded.layers[1].shape == encoded.states.shape


def test_frames_the_loader_reckons_with_are_those_at_the_end_of_the_training() -> None:
    experiment = micro_experiment().with_("encoder.pooling", POOLING)
    model, samples = experiment.build_model(9), torch.tensor([16000, 400])
    before = model.encoder_frames(samples)
    advance(model, START)
    assert torch.equal(model.encoder_frames(samples), before)
    assert torch.equal(before, micro_experiment().build_model(9).encoder_frames(samples))


@pytest.mark.parametrize(
    "fields",
    [
        {"pooling": {**POOLING, "values": (4, 2, 2)}},
        {"pooling": {**POOLING, "values": (0, 2, 1)}},
        {"width": 0.5},
        {"width": {**POOLING, "values": (0, 0.5, 1)}},
        {"width": {**POOLING, "values": (2, 0.5, 1)}},
    ],
)
def test_pooling_and_width_must_end_at_one(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="end"):
        ConformerConfig.model_validate(fields)


def test_dropout_behind_attention_can_be_left_out() -> None:
    x, lengths = torch.randn(1, 6, 8), torch.tensor([6])
    silenced = {"dropout": {"rate": 0.999999, "share": "none"}, "layers": 1}
    with_it, without = quiet(**silenced).train(), quiet(**silenced, dropout_behind_attention=False).train()
    plain = with_it.layers[0]
    torch.testing.assert_close(with_it(x, lengths).states, plain.final_norm(x))
    attended = x + plain.attention(plain.attention_norm(x), torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(without(x, lengths).states, plain.final_norm(attended))


def test_options_of_the_training_wait_for_nothing_on_the_device() -> None:
    """On the meta device, which has shapes but no values: whatever read one back would raise."""
    width = {"kind": "steps", "nodes": (10,), "values": (0.5, 1)}
    encoder = quiet(pooling=POOLING, width=width, chunk=3, attention={"heads": 2, "window": 2}).to("meta").train()
    advance(encoder, START)
    encoded = encoder(torch.empty(2, 17, 8, device="meta"), torch.tensor([17, 9]), (1,))
    encoded.states.sum().backward()
    assert encoded.states.shape == encoded.layers[1].shape == (2, 5, 8)


def test_a_block_passed_over_leaves_its_input_and_gets_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = quiet(layers=3, layer_drop=0.5).train()
    x, lengths = torch.randn(2, 5, 8), torch.tensor([5, 3])
    monkeypatch.setattr("aedo.model.encoder.kept_layers", lambda count, rate: [True, rate != 0.5, True][:count])
    dropped = stack(x, lengths, (1, 2))
    torch.testing.assert_close(dropped.layers[1], dropped.layers[2], atol=0, rtol=0)
    dropped.states.sum().backward()
    assert all(p.grad is None for p in stack.layers[1].parameters())
    assert all(p.grad is not None for p in stack.layers[2].parameters())
    stack.eval()  # recognition goes through all of them
    assert not torch.equal(*(stack(x, lengths, (1, 2)).layers[number] for number in (1, 2)))


def test_half_of_the_blocks_are_passed_over_by_a_tag_that_says_so() -> None:
    experiment = resolve("tiny-layerdrop05")
    assert experiment.encoder.layer_drop == 0.5
    torch.manual_seed(0)
    stack = experiment.encoder.build().train()
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    for block in stack.layers:
        block.register_forward_hook(count)
    for _ in range(60):
        stack(torch.zeros(1, 2, 128), torch.tensor([2]))
    assert calls / (60 * 3) == pytest.approx(0.5, abs=0.12)


def test_without_layer_drop_nothing_is_drawn() -> None:
    stack = quiet(layers=2).train()
    before = torch.get_rng_state()
    stack(torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([4]))
    assert torch.equal(torch.get_rng_state(), before)
