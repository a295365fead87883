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


def clock(device: torch.device) -> float:
    """Seconds, when the device is done: of the processor where torch works with one thread on it, so that other work
    on the machine disturbs a measurement little; else of the clock on the wall."""
    synchronize(device)
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def matrix_throughput(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Multiply-adds per second of the fastest matrix product found within about `seconds`.

    On the CPU with the threads torch has now.
    """
    best = 0.0
    for size in SIZES.get(device.type, SIZES["cpu"]):
        a = torch.randn(size, size, device=device, dtype=dtype)
        b = torch.randn(size, size, device=device, dtype=dtype)
        out = a @ b  # the first one is slow: kernels are chosen, memory is taken
        end = clock(device) + seconds / 2
        while (begin := clock(device)) < end:
            torch.mm(a, b, out=out)
            best = max(best, size**3 / (clock(device) - begin))
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
