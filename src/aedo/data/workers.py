"""Processes that read batches ahead of the training step.

They come from a server process that has imported everything and runs no threads, so that starting one is quick and
safe whatever threads (OpenMP, CUDA, loggers) the training process has.  They live as long as the `Workers` object, and
end with the training process however that ends: then their connection closes.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its exit handler waits for processes; imported before ours is registered, it runs after
import queue
import signal
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NamedTuple, TypeVar

from aedo.data.reading import Job, ReadBatch, Reader
from aedo.errors import UserError

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_running: set[BaseProcess] = set()


class _Failure(NamedTuple):
    """What went wrong in a worker: an error for the user, or the traceback of one of ours."""

    message: str
    for_user: bool


@dataclass(frozen=True, eq=False)
class _Worker(Generic[T]):
    process: BaseProcess
    connection: Connection
    results: queue.SimpleQueue[tuple[int, T | _Failure] | None]


def warm_up() -> None:
    """Start the server process in the background, so that its imports overlap with what the caller does next."""
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.get_context(_METHOD).set_forkserver_preload(["aedo.data.workers", "lhotse.serialization"])
        forkserver.ensure_running()


class Workers(Generic[T]):
    """`count` processes that share the jobs of a run in turn; each is given `prefetch` jobs ahead.

    `finish` turns what a worker read into what the caller gets; it runs in this process, ahead of the caller too.
    """

    def __init__(self, reader: Reader, count: int, prefetch: int, finish: Callable[[ReadBatch], T]) -> None:
        warm_up()
        self._ahead = count * prefetch
        self._workers = [_start(reader, number, finish) for number in range(count)]
        self._run = 0
        self.close = weakref.finalize(self, _end, self._workers)

    def run(self, jobs: Sequence[Job]) -> Iterator[T]:
        """The batches of `jobs`, in order.  A new run ends the one before it."""
        self._run += 1
        run = self._run
        for number in range(min(self._ahead, len(jobs))):
            self._send(run, number, jobs[number])
        for number in range(len(jobs)):
            if run != self._run:
                raise RuntimeError("these batches are over: the loader was asked for others in the meantime")
            batch = self._receive(run, number)
            if number + self._ahead < len(jobs):
                self._send(run, number + self._ahead, jobs[number + self._ahead])
            yield batch

    def _send(self, run: int, number: int, job: Job) -> None:
        worker = self._workers[number % len(self._workers)]
        try:
            worker.connection.send((run, job))
        except OSError:
            raise _ended(worker) from None

    def _receive(self, run: int, number: int) -> T:
        worker = self._workers[number % len(self._workers)]
        while True:
            received = worker.results.get()
            if received is None:
                worker.results.put(None)  # whoever asks again gets the same answer
                raise _ended(worker)
            if received[0] == run:  # else it belongs to a run that was left before its end
                break
        result = received[1]
        if isinstance(result, _Failure):
            raise UserError(result.message) if result.for_user else RuntimeError(f"in a data worker:\n{result.message}")
        return result


def _start(reader: Reader, number: int, finish: Callable[[ReadBatch], T]) -> _Worker[T]:
    context: Any = multiprocessing.get_context(_METHOD)
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, reader), name=f"aedo data worker {number}", daemon=True)
    process.start()
    _running.add(process)
    there.close()
    worker = _Worker[T](process, here, queue.SimpleQueue())
    threading.Thread(target=_collect, args=(worker, finish), daemon=True).start()
    return worker


def _serve(connection: Connection, reader: Reader) -> None:
    """A worker's life: read what it is asked for until the training process goes."""
    # Signals to the whole group are the training process's business: it still wants its batches to save and stop well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    try:
        while True:
            run, job = connection.recv()
            connection.send((run, _attempt(reader.read, job)))
    except (EOFError, OSError):
        return


def _attempt(work: Callable[[S], R], item: S) -> R | _Failure:
    try:
        return work(item)
    except UserError as error:
        return _Failure(str(error), for_user=True)
    except Exception:
        return _Failure(traceback.format_exc(), for_user=False)


def _collect(worker: _Worker[T], finish: Callable[[ReadBatch], T]) -> None:
    """Take results off the pipe at once, so that the worker never waits with a finished batch in its hands."""
    try:
        while True:
            run, result = worker.connection.recv()
            worker.results.put((run, result if isinstance(result, _Failure) else _attempt(finish, result)))
    except (EOFError, OSError):
        worker.results.put(None)


def _ended(worker: _Worker[Any]) -> UserError:
    worker.process.join(timeout=5)
    return UserError(
        f"{worker.process.name} ended unexpectedly (exit code {worker.process.exitcode}; -9 often means out "
        "of memory); run again, with fewer loader.workers or a smaller loader.prefetch if memory is short"
    )


def _end(workers: Sequence[_Worker[Any]]) -> None:
    for worker in workers:  # they hold nothing that must be put in order
        worker.process.kill()
        _running.discard(worker.process)


@atexit.register
def _end_all() -> None:
    for process in list(_running):
        process.kill()
