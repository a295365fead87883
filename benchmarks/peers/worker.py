"""A process that holds one system's model and does what the other end of its pipe asks (knows neither system).

One JSON line in, one out: `check` writes results to compare to a file, `begin` makes a part ready and does it so often,
`round` does it once more and tells its time, `end` tells the most memory it ever used.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch


class System(Protocol):
    """What is measured."""

    def check(self, what: str, precision: str) -> dict[str, Any]:
        """Results to compare: tensors, numbers, lists of them."""
        ...

    def part(self, name: str, precision: str) -> Callable[[], None]:
        """The work to time; whatever it needs is there when this returns, whatever others needed is gone."""
        ...


def serve(make: Callable[[Path, dict[str, Any]], System]) -> None:
    """Answer until the other end closes.  The one argument of the process is the folder of the job."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    folder = Path(sys.argv[1])
    os.dup2(os.open(folder / f"{Path(sys.argv[0]).stem}.log", os.O_WRONLY | os.O_CREAT), 1)  # no answer of ours
    job = json.loads((folder / "job.json").read_text())
    torch.set_num_threads(job["threads"])
    system, work, said = make(folder, job), None, {}
    print(json.dumps({"ready": getattr(system, "version", "")}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        said = {}
        if asked["do"] == "check":
            torch.save(system.check(asked["what"], asked["precision"]), asked["out"])
        elif asked["do"] == "begin":
            work = None
            work = system.part(asked["part"], asked["precision"])
            _forget_peak()
            said = {"before": _memory("VmRSS")}
            for _ in range(asked.get("rounds", 1)):
                work()
        elif asked["do"] == "round":
            assert work is not None
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            work()
            said = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        elif asked["do"] == "end":
            said = {"peak": _memory("VmHWM")}
        print(json.dumps(said), file=answers)


def _forget_peak() -> None:
    """Give back what is free, and let the kernel's record of the most memory ever used begin anew."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def _memory(field: str) -> float:
    """A line of the kernel's account of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024
