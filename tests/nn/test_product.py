from __future__ import annotations

import pytest
import torch

from aedo.nn.product import packed, product


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 5, 48, 400])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("intel", [False, True])
def test_it_is_the_product(
    dtype: torch.dtype, rows: int, transposed: bool, intel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aedo.nn.product._INTEL", intel)
    torch.manual_seed(rows)
    x, weight = torch.randn(rows, 33).to(dtype), torch.randn(33, 70).t().to(dtype)
    weight = weight if transposed else weight.contiguous()
    found = product(x, weight)
    assert found.dtype == dtype
    exact = x.double() @ weight.double().t()
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=100 * float(torch.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 5, 48])
def test_a_packed_matrix_gives_the_same_product(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(rows)
    x, weight, bias = torch.randn(2, rows, 33).to(dtype), torch.randn(33, 70).to(dtype).t(), torch.randn(70).to(dtype)
    found = product(x, packed(weight, 5), bias)
    expected = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(found, expected, rtol=0, atol=50 * float(torch.finfo(dtype).eps))
