"""What this machine can do: the throughput of its matrix products, and the memory a process used at most."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from pathlib import Path

import torch

SIZES = {"cpu": (768, 1536), "cuda": (4096, 8192)}
"""Square matrices; the best of all sizes counts."""


def matrix_throughput(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Multiply-adds per second of the fastest matrix product found within about `seconds`.

    On the CPU with the threads torch has now; a single one is timed by its processor time.  So other work on the
    machine disturbs it little: besides, the best repetition counts.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    best, clock = 0.0, time.process_time if alone else time.perf_counter
    for size in SIZES.get(device.type, SIZES["cpu"]):
        a = torch.randn(size, size, device=device, dtype=dtype)
        b = torch.randn(size, size, device=device, dtype=dtype)
        out = a @ b  # the first one is slow: kernels are chosen, memory is taken
        end = clock() + seconds / 2
        while clock() < end:
            synchronize(device)
            begin = clock()
            torch.mm(a, b, out=out)
            synchronize(device)
            best = max(best, size**3 / (clock() - begin))
    return best


def synchronize(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """Let the record of the most memory ever used begin anew, after giving back what is free."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Most bytes used since `forget_peak`: on a GPU of it, else of this process; None where nobody knows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
