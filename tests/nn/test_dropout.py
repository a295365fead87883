from __future__ import annotations

import pytest
import torch

from aedo.nn.dropout import Dropout, Share, WeightDropout, WeightShare, kept, kept_layers


@pytest.mark.parametrize(("share", "expected"), [("none", (2, 5, 8)), ("time", (2, 1, 8)), ("batch_time", (1, 1, 8))])
def test_mask_is_shared_along_the_named_axes(share: Share, expected: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.5, share)(torch.ones(2, 5, 8)) == 0
    for axis, size in enumerate(expected):
        same = (dropped == dropped.narrow(axis, 0, 1)).all().item()
        assert same is (size == 1), f"axis {axis}"


@pytest.mark.parametrize("share", ["none", "time", "batch_time"])
def test_keeps_the_mean(share: Share) -> None:
    torch.manual_seed(0)
    y = Dropout(0.3, share)(torch.ones(64, 1, 4096))
    assert abs(y.mean().item() - 1) < 0.05  # four standard deviations of the smallest number of draws, 4096


def test_packed_rows_share_a_mask_only_over_the_whole_batch() -> None:
    torch.manual_seed(0)
    shared = Dropout(0.5, "batch_time")(torch.ones(6, 32)) == 0
    assert (shared == shared[:1]).all()
    single = Dropout(0.5, "time")(torch.ones(6, 32)) == 0
    assert not (single == single[:1]).all()


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.9, False)])
def test_off_returns_the_input_itself(rate: float, training: bool) -> None:
    x = torch.randn(2, 3, 4)
    assert Dropout(rate, "none").train(training)(x) is x


def test_layers_are_passed_over_as_often_as_asked_for_and_nothing_is_drawn_without() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert kept_layers(5, 0.0) == [True] * 5
    assert torch.equal(torch.get_rng_state(), before)
    drawn = torch.tensor([kept_layers(4, 0.3) for _ in range(4000)], dtype=torch.float32)
    torch.testing.assert_close(drawn.mean(0), torch.full((4,), 0.7), atol=0.03, rtol=0)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.5, 0.97, 0.999999])
def test_elements_are_kept_one_by_one_at_their_rate(rate: float) -> None:
    torch.manual_seed(0)
    mask = kept((4, 3, 20_001), rate, torch.device("cpu"))
    assert mask.dtype == torch.uint8
    drawn = mask.double()
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    deviation = (rate * (1 - rate) / 20_001) ** 0.5
    assert ((drawn.mean(-1) - (1 - rate)).abs() <= 4 * deviation).all()
    pairs = (drawn[..., 1:] * drawn[..., :-1]).mean(-1)  # neighbours come out of the same random number
    assert ((pairs - (1 - rate) ** 2).abs() <= 8 * deviation).all()


@pytest.mark.parametrize("share", ["none", "all_but_keys"])
def test_weights_are_multiplied_by_what_keeps_them(share: WeightShare) -> None:
    weights, dropout = torch.rand(2, 3, 5), WeightDropout(0.5, share).train()
    torch.manual_seed(0)
    keep = dropout.keep(weights.shape, weights.device)
    assert keep is not None
    assert set(keep.unique().tolist()) == {0, 1}
    torch.manual_seed(0)
    assert torch.equal(dropout(weights), weights * keep * 2.0)
    assert dropout.eval().keep(weights.shape, weights.device) is None
