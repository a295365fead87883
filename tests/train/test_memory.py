from __future__ import annotations

import platform
import resource

import pytest
import torch

from aedo.train.memory import keep_freed_memory


def page_faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20_000_000)  # 20,000 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_large_tensor_finds_the_memory_of_the_one_before() -> None:
    assert keep_freed_memory()
    page_faults()
    assert min(page_faults() for _ in range(3)) < 100


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
