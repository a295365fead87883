"""Memory that is freed: pages are taken from the system once, and given back where that is asked for."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from aedo.memory import give_back, keep_freed_memory

PAGE_FAULTS = """
import resource
from aedo.memory import keep_freed_memory
import torch

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20_000_000)  # 20,000 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
print([page_faults() for _ in range(20)][-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("huge_pages", ["0", "1"])
def test_a_large_tensor_finds_the_memory_of_the_one_before(huge_pages: str) -> None:
    # A process of its own: what else this one has in its heap decides where a large block goes.  Without alignment a
    # few blocks of the same size are left unused before one is found again.
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": huge_pages}
    command = [sys.executable, "-c", PAGE_FAULTS]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(ended.stdout) < 100


def test_aedo_asks_for_large_tensors_that_begin_at_a_page_unless_somebody_chose() -> None:
    command = [sys.executable, "-c", "import aedo, os; print(os.environ['THP_MEM_ALLOC_ENABLE'])"]
    unset = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    said = [
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
        for environment in (unset, {**unset, "THP_MEM_ALLOC_ENABLE": "0"})
    ]
    assert said == ["1", "0"]


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()


def test_memory_is_given_back_where_that_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Library:
        @staticmethod
        def malloc_trim(left: int) -> None:
            asked.append(left)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    give_back()
    assert asked == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back()
