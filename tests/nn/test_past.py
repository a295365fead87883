from __future__ import annotations

import torch
from torch import Tensor

from aedo.nn.past import AllAtOnce, Carried, past_mask, with_past

KEPT, HISTORY, FEATURES = 2, 3, 4
CHUNKS = torch.tensor([0, 1, 2, 3, 0, 1, 0])
"""Of three utterances."""
OWN = torch.arange(7 * 3 * FEATURES, dtype=torch.float32).view(7, 3, FEATURES) + 1


def expected(chunk: int) -> Tensor:
    """By loops: kept frames of the chunks before, zeros where there are none."""
    frames = []
    for back in range(HISTORY, 0, -1):
        there = int(CHUNKS[chunk]) >= back
        frames.append(OWN[chunk - back, :KEPT] if there else torch.zeros(KEPT, FEATURES))
    return torch.cat(frames)


def test_all_chunks_at_once_see_the_kept_frames_of_those_before() -> None:
    past = AllAtOnce(CHUNKS, KEPT, HISTORY, HISTORY * KEPT, unmasked=False)
    before = past.before(OWN)
    assert all(torch.equal(before[chunk], expected(chunk)) for chunk in range(len(CHUNKS)))
    assert torch.equal(past.seen, (before != 0).any(-1))
    assert with_past(before, OWN).shape == (7, HISTORY * KEPT + 3, FEATURES)


def test_chunk_by_chunk_the_same_is_seen() -> None:
    left: tuple[Tensor, ...] = ()
    for chunk in range(4):
        past = Carried(left, CHUNKS[chunk : chunk + 1], KEPT, HISTORY, HISTORY * KEPT, unmasked=False)
        assert torch.equal(past.before(OWN[chunk : chunk + 1])[0], expected(chunk))
        assert past.before(-OWN[chunk : chunk + 1]).shape == (1, HISTORY * KEPT, FEATURES)  # of another module
        assert torch.equal(past.seen[0], (expected(chunk) != 0).any(-1))
        left = past.following
    assert [tuple(x.shape) for x in left] == [(1, HISTORY * KEPT, FEATURES)] * 2


def test_the_original_sees_chunks_that_never_were_as_zeros() -> None:
    once = AllAtOnce(CHUNKS, KEPT, HISTORY, 9, unmasked=True)
    carried = Carried((), torch.zeros(2, dtype=torch.int64), KEPT, HISTORY, 9, unmasked=True)
    mask = torch.tensor([[True, False, True]])
    assert bool(once.seen.all())
    assert past_mask(carried, mask.expand(2, -1)).tolist() == [[True] * 6 + [True, False, True]] * 2


def test_nothing_flows_back_from_chunks_that_never_were() -> None:
    own = OWN.clone().requires_grad_()
    AllAtOnce(CHUNKS, KEPT, HISTORY, 6, unmasked=False).before(own).sum().backward()
    assert own.grad is not None
    assert own.grad[:, KEPT:].abs().sum() == 0  # nobody sees the frames to look ahead
    assert own.grad[0, 0].tolist() == [3.0] * FEATURES  # seen by the three chunks behind
    assert own.grad[6].abs().sum() == 0
