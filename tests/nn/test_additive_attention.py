from __future__ import annotations

import torch

from aedo.nn.additive_attention import AdditiveAttention

B, T, D, A, Q = 2, 5, 3, 4, 6
MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def test_every_head_is_its_own_distribution_over_the_valid_frames() -> None:
    torch.manual_seed(0)
    attention = AdditiveAttention(D, A, Q, heads=3)
    states, query = torch.randn(B, T, D), torch.randn(B, Q)
    accumulated = torch.rand(B, 3, T)
    weights = attention(attention.query(query), attention.key(states), accumulated, MASK)
    assert weights.shape == (B, 3, T)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, 3))
    assert not weights[1, :, 3:].any()
    for b in range(B):  # written out, head by head
        for head in range(3):
            energies = []
            for t in range(T):
                inside = attention.key(states[b, t]) + attention.query(query[b])
                for other in range(3):
                    inside = inside + accumulated[b, other, t] * attention.feedback.weight[:, other]
                energies.append(attention.energy.weight[head] @ inside.tanh())
            expected = torch.stack(energies).masked_fill(~MASK[b], float("-inf")).softmax(0)
            torch.testing.assert_close(weights[b, head], expected)


def test_fertility_is_a_share_of_a_half_for_every_head_and_frame() -> None:
    torch.manual_seed(0)
    attention, states = AdditiveAttention(D, A, Q, heads=2), torch.randn(B, T, D)
    found = attention.fertilities(states)
    assert found.shape == (B, 2, T)
    torch.testing.assert_close(found[1, 0, 2], 0.5 * (attention.fertility.weight[0] @ states[1, 2]).sigmoid())
