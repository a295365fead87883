from __future__ import annotations

import pytest
import torch

from aedo.nn.attention import SelfAttentionConfig
from aedo.nn.masks import length_mask
from aedo.nn.windows import Chunks, within_window


def test_chunks_follow_each_other_and_hold_no_padding_alone() -> None:
    x, lengths = torch.arange(3 * 10).view(3, 10, 1), torch.tensor([10, 4, 5])
    chunks = Chunks(lengths, 10, 4, x.device)
    assert chunks.lengths.tolist() == [4, 4, 2, 4, 4, 1]
    cut = chunks.cut(x)
    assert cut[:, :, 0].tolist()[:3] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]
    assert cut[3:, 0, 0].tolist() == [10, 20, 24]


def test_chunks_put_together_are_the_batch() -> None:
    x, lengths = torch.randn(3, 10, 2), torch.tensor([10, 4, 5])
    chunks = Chunks(lengths, 10, 4, x.device)
    again, valid = chunks.stitch(chunks.cut(x)), length_mask(lengths, 10, x.device)
    assert again.shape == x.shape
    assert torch.equal(again[valid], x[valid])
    assert (again[1, 4:] == 0).all()


def test_one_chunk_as_long_as_the_batch_is_the_batch() -> None:
    x = torch.randn(2, 5, 3)
    assert torch.equal(Chunks(torch.tensor([5, 2]), 5, 50, x.device).cut(x), x)


@pytest.mark.parametrize(("window", "left", "right"), [(1, 0, 0), (2, 0, 1), (3, 1, 1), (50, 24, 25)])
def test_a_window_lies_around_its_query(window: int, left: int, right: int) -> None:
    seen = within_window(torch.ones(1, 120, dtype=torch.bool), window)[0, 0, 60].nonzero().flatten()
    assert (int(seen[0]), int(seen[-1]), len(seen)) == (60 - left, 60 + right, left + right + 1)


@pytest.mark.parametrize("kind", ["clipped", "transformer_xl"])
def test_training_sees_a_window_and_recognition_everything(kind: str) -> None:
    torch.manual_seed(0)
    config = {"heads": 2, "dropout": 0.0, "position": {"kind": kind}}
    local = SelfAttentionConfig.model_validate({**config, "window": 4}).build(8)
    whole = SelfAttentionConfig.model_validate(config).build(8)
    whole.load_state_dict(local.state_dict())
    x, lengths = torch.randn(2, 9, 8), torch.tensor([9, 6])
    mask = length_mask(lengths, 9, x.device)
    y = local.train()(x, mask)
    assert y.isfinite().all(), "also in padding, which later layers multiply by zero"
    for row, length in enumerate(lengths.tolist()):
        for query in range(length):  # a mask for the window of each query alone
            near = torch.tensor([[query - 1 <= key <= query + 2 and key < length for key in range(9)]])
            torch.testing.assert_close(y[row, query], whole.train()(x[row : row + 1], near)[0, query])
    assert torch.equal(local.eval()(x, mask), whole.eval()(x, mask))
