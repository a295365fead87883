"""`aedo train --devices N` without a launcher: be one.

The processes get the environment that torchrun would give them.  torchrun itself is not used here, for three reasons:
it kills processes that need more than 30 seconds to save after SIGTERM, it ends with status 1 where ours asks to be run
again (75), and where one rank takes others down with it, it may name the wrong one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch.distributed as dist

from aedo.errors import UserError
from aedo.train.distributed import LostRankError
from aedo.train.place import ENDS, LAUNCHER, PORT, Place
from aedo.train.signals import EXIT_REQUEUE, SIGNALS

LOST_SECONDS = 3.0
"""A rank that lost another one waits so long to be ended by its launcher."""

EXIT_LOST = 76
"""Exit status of a rank that lost another one."""

LOOK_SECONDS = 0.1
"""Time between two looks at the processes."""

Processes = Sequence["subprocess.Popen[bytes]"]


def launch(size: int, arguments: Sequence[str]) -> tuple[int, str]:
    """Run `aedo ARGUMENTS` as `size` ranks on this machine: exit status, and what went wrong.

    Where a rank ends otherwise than it should, the others are killed at once.  SIGTERM and SIGINT are passed on, once.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(prefix="aedo-") as folder:
        shared = {LAUNCHER: str(os.getpid()), PORT: str(store.port), ENDS: folder}
        processes: list[subprocess.Popen[bytes]] = []
        with _Requests() as asked:
            try:
                for rank in range(size):
                    processes.append(_start(rank, size, arguments, shared))
                failed = _watch(processes, asked)
            finally:
                _kill(processes)
        if failed is None:
            status = EXIT_REQUEUE if any(process.returncode == EXIT_REQUEUE for process in processes) else 0
            return status, ""
        code = processes[failed].returncode
        if asked.count and code in (-signal.SIGTERM, -signal.SIGKILL):  # before it could save, or by a second Ctrl-C
            return EXIT_REQUEUE, ""
        return _status(code), f"rank {failed} of {size} on {socket.gethostname()}{_cause(code, Path(folder), failed)}"


@contextmanager
def answered(place: Place | None) -> Iterator[None]:
    """In a rank: have its failure told with its name, once.

    Our launcher is told in a file.  A rank that has merely lost another one first leaves the launcher the time to
    notice the one that is to blame.
    """
    if place is None or place.size == 1:
        yield
        return
    name = f"rank {place.rank} of {place.size} on {socket.gethostname()}"
    try:
        yield
    except LostRankError as lost:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        time.sleep(LOST_SECONDS)
        print(f"error: {name}: {lost}; run the same command again to go on", file=sys.stderr)
        _leave(EXIT_LOST)
    except UserError as error:
        if place.launcher == "aedo":
            (Path(os.environ[ENDS]) / str(place.rank)).write_text(str(error), encoding="utf-8")
        else:
            print(f"error: {name}: {error}", file=sys.stderr)
        _leave(2)
    except Exception as error:
        traceback.print_exc()
        if place.launcher == "aedo":
            cause = "".join(traceback.format_exception_only(error)).strip()
            (Path(os.environ[ENDS]) / str(place.rank)).write_text(f"{cause} (see above)", encoding="utf-8")
        _leave(1)


def _leave(status: int) -> NoReturn:
    """End at once: the usual way waits for what still goes on between the ranks."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _start(rank: int, size: int, arguments: Sequence[str], shared: dict[str, str]) -> subprocess.Popen[bytes]:
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    local = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}  # the host's name need not resolve
    return subprocess.Popen(
        [sys.executable, "-m", "aedo", *arguments],
        env={**local, **os.environ, **shared, **own},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C on the terminal reaches us alone, and they get it from us, once
    )


def _watch(processes: Processes, asked: _Requests) -> int | None:
    """Until all have ended well, or one has not: its rank.  The first request is passed on, the second one kills."""
    passed = False
    while (failed := _failed(processes)) is None and any(process.returncode is None for process in processes):
        if asked.count > 1:
            _kill(processes)
        elif asked.count and not passed:
            passed = True
            for process in processes:
                process.send_signal(signal.SIGTERM)
        time.sleep(LOOK_SECONDS)
    return failed


def _failed(processes: Processes) -> int | None:
    """The rank that ended as none should; one killed by a signal first, for its end may have ended others."""
    codes = {
        rank: code for rank, process in enumerate(processes) if (code := process.poll()) not in (None, 0, EXIT_REQUEUE)
    }
    return min(codes, key=lambda rank: (codes[rank] == EXIT_LOST, codes[rank] > 0, rank), default=None)


def _kill(processes: Processes) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
    for process in processes:
        process.wait()


def _status(code: int) -> int:
    return 128 - code if code < 0 else code


def _cause(code: int, folder: Path, rank: int) -> str:
    note = folder / str(rank)
    if code < 0:
        memory = " (was the machine short of memory?)" if code == -signal.SIGKILL else ""
        return f" was ended by {signal.Signals(-code).name}{memory}; run the same command again to go on"
    if note.exists():
        return f": {note.read_text(encoding='utf-8')}"
    return f" ended with status {code}; run the same command again to go on"


class _Requests:
    """Within the block, SIGTERM and SIGINT are counted."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> _Requests:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
