"""The encoder: growing in depth over the training, and that not growing changes nothing."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from aedo.model.conformer import Conformer, ConformerConfig
from aedo.schedule import START, Progress

CONFIG = ConformerConfig(layers=4, dim=16)


def at_step(step: int) -> Progress:
    return START._replace(micro_step=step)


def encoder(growth: tuple[tuple[int, int], ...] = ()) -> Conformer:
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
