from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from aedo.train.memory import keep_freed_memory

PAGE_FAULTS = """
import resource
import torch
from aedo.train.memory import keep_freed_memory

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20_000_000)  # 20,000 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
page_faults()
print(min(page_faults() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_large_tensor_finds_the_memory_of_the_one_before() -> None:
    # A process of its own: what else this one has in its heap decides where a large block goes.
    ended = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 100


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
