from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aedo.nn.attend import attention_weights
from aedo.nn.written_attention import written_attention

B, H, Q, K, E = 2, 3, 4, 5, 6
SEEN = {
    "padding": torch.tensor([[True] * 5, [True, True, True, False, False]])[:, None, None],
    "window": ((torch.arange(K) - torch.arange(Q)[:, None]).abs() <= 1)[None, None].expand(B, 1, Q, K),
}


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """query, key, value and what is added; the first one in the layout of a projection."""
    torch.manual_seed(0)
    query = torch.randn(B, Q, H, E, dtype=dtype).transpose(1, 2)
    others = (torch.randn(*shape, dtype=dtype) for shape in ((B, H, K, E), (B, H, K, E), (B, H, Q, K)))
    return query.requires_grad_(), *(tensor.requires_grad_() for tensor in others)  # type: ignore[return-value]


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("with_added", [True, False])
@pytest.mark.parametrize("with_keep", [True, False])
def test_values_and_gradients_are_those_of_the_weights_times_the_values(
    seen: str, with_added: bool, with_keep: bool
) -> None:
    query, key, value, added = inputs(torch.float64)
    keep = torch.randint(0, 2, (B, H, Q, K), dtype=torch.uint8) if with_keep else None
    more, factor = added if with_added else None, 2.0 if with_keep else 1.0
    ours = written_attention(query, key, value, SEEN[seen], more, keep, factor)
    weights = attention_weights(query, key, SEEN[seen], more)
    theirs = (weights if keep is None else weights * keep * factor) @ value
    torch.testing.assert_close(ours, theirs)
    wanted = (query, key, value, added) if with_added else (query, key, value)
    towards = torch.randn_like(theirs)
    for gradient, expected in zip(*(torch.autograd.grad(y, wanted, towards) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_gradients_are_those_of_the_values() -> None:
    keep = torch.randint(0, 2, (1, 1, 1, K), dtype=torch.uint8)
    assert torch.autograd.gradcheck(
        lambda q, k, v, a: written_attention(q, k, v, SEEN["padding"], a, keep, 1.5), inputs(torch.float64)
    )


def test_under_autocast_everything_of_the_size_of_the_weights_has_the_type_of_the_products() -> None:
    query, key, value, added = inputs(torch.float32)
    stored: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        stored.append(tensor)
        return tensor

    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        keep = torch.ones(B, H, Q, K, dtype=torch.uint8)
        y = written_attention(query, key, value, SEEN["padding"], added, keep)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in stored if tensor.shape == (B, H, Q, K)} == {torch.bfloat16, torch.uint8}
    exact = attention_weights(query, key, SEEN["padding"], added) @ value
    torch.testing.assert_close(y.float(), exact, atol=0.03, rtol=0.03)
    assert query.grad is not None
    assert query.grad.dtype == torch.float32
