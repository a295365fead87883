from __future__ import annotations

import platform
from collections.abc import Iterator

import pytest
import torch

from aedo.nn.precision import emulates_bfloat16


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    emulates_bfloat16.cache_clear()
    yield
    emulates_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("machine", "capabilities", "emulated"),
    [
        ("x86_64", {"avx2": True, "avx512_bf16": False, "amx_bf16": False}, True),
        ("AMD64", {"avx2": True}, True),
        ("x86_64", {"avx512_bf16": True}, False),
        ("x86_64", {"avx512_bf16": False, "amx_bf16": True}, False),
        ("x86_64", {}, False),  # nothing is known
        ("aarch64", {"neon": True}, False),
    ],
)
def test_bfloat16_is_emulated_by_x86_processors_without_its_instructions(
    machine: str, capabilities: dict[str, bool], emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert emulates_bfloat16("cpu") is emulated
    assert emulates_bfloat16("cuda") is False


def test_an_older_torch_that_says_nothing_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert emulates_bfloat16("cpu") is False
