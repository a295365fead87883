"""Processes that read batches ahead of the training step.

They come from a server process that has imported everything and runs no threads, so that starting one is quick and
safe whatever threads (OpenMP, CUDA, loggers) the training process has.  They live as long as the `Workers` object, and
end with the training process however that ends: then their connection closes.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its exit handler waits for processes; imported before ours is registered, it runs after
import os
import queue
import signal
import socket
import threading
import traceback
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch

from aedo.data.reading import Job, ReadBatch, Reader
from aedo.errors import UserError

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_running: set[BaseProcess] = set()
_collectors: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class _Failure(NamedTuple):
    """What went wrong in a worker: an error for the user, or the traceback of one of ours."""

    message: str
    for_user: bool


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection
    results: queue.SimpleQueue[tuple[int, ReadBatch | _Failure] | None]


def warm_up() -> None:
    """Start the server process in the background, so that its imports overlap with what the caller does next."""
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.get_context(_METHOD).set_forkserver_preload(["aedo.data.workers", "lhotse.serialization"])
        forkserver.ensure_running()


class Workers:
    """`count` processes that share the jobs of a run in turn; each is given `prefetch` jobs ahead."""

    def __init__(self, reader: Reader, count: int, prefetch: int) -> None:
        warm_up()
        self._ahead = count * prefetch
        self._workers = [_start(reader, number) for number in range(count)]
        self._run = 0
        self.close = weakref.finalize(self, _end, self._workers)

    def run(self, jobs: Sequence[Job]) -> Iterator[ReadBatch]:
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

    def _receive(self, run: int, number: int) -> ReadBatch:
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


def _start(reader: Reader, number: int) -> _Worker:
    context: Any = multiprocessing.get_context(_METHOD)
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, reader), name=f"aedo data worker {number}", daemon=True)
    process.start()
    _running.add(process)
    there.close()
    worker = _Worker(process, here, queue.SimpleQueue())
    collector = threading.Thread(target=_collect, args=(worker,), daemon=True)
    collector.start()
    _collectors.add(collector)
    return worker


def _serve(connection: Connection, reader: Reader) -> None:
    """A worker's life: read what it is asked for until the training process goes."""
    # Signals to the whole group are the training process's business: it still wants its batches to save and stop well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        while True:
            run, job = connection.recv()
            _send(connection, run, _attempt(reader, job))
    except (EOFError, OSError):
        return


def _attempt(reader: Reader, job: Job) -> ReadBatch | _Failure:
    try:
        return reader.read(job)
    except UserError as error:
        return _Failure(str(error), for_user=True)
    except Exception:
        return _Failure(traceback.format_exc(), for_user=False)


def _send(connection: Connection, run: int, result: ReadBatch | _Failure) -> None:
    """The samples travel as plain bytes behind the rest: pickling would copy them three times, holding up Python."""
    if isinstance(result, _Failure) or result.arrays is None:
        connection.send((run, result, None))
        return
    audio = result.arrays.audio
    rest = result._replace(arrays=result.arrays._replace(audio=audio[:0]))
    connection.send((run, rest, audio.shape))
    with socket.socket(fileno=os.dup(connection.fileno())) as stream:
        stream.sendall(audio.data)


def _collect(worker: _Worker) -> None:
    """Take results off the connection at once, so that the worker never waits with a finished batch in its hands."""
    pinned = torch.cuda.is_available()
    stream = socket.socket(fileno=os.dup(worker.connection.fileno()))
    try:
        while True:
            run, result, shape = worker.connection.recv()
            if shape is not None:
                audio = torch.empty(shape, pin_memory=pinned).numpy()
                _fill(stream, audio.data.cast("B"))
                result = result._replace(arrays=result.arrays._replace(audio=audio))
            worker.results.put((run, result))
    except (EOFError, OSError):
        pass
    finally:
        stream.close()
        worker.results.put(None)


def _fill(stream: socket.socket, buffer: memoryview) -> None:
    while buffer:  # one call as a rule, without Python's lock; a signal can cut it short
        got = stream.recv_into(buffer, len(buffer), socket.MSG_WAITALL)
        if not got:
            raise EOFError
        buffer = buffer[got:]


def _ended(worker: _Worker) -> UserError:
    worker.process.join(timeout=5)
    code = worker.process.exitcode
    mend = "run again; its own message stands above"
    if code == -signal.SIGKILL:
        mend = "often for lack of memory; run again, with fewer loader.workers or a smaller loader.prefetch"
    elif code == 1:  # the usual one of Python's start methods: workers import the script that starts them
        mend = 'a script of your own must start its work under if __name__ == "__main__":, or set loader.workers to 0'
    return UserError(f"{worker.process.name} ended unexpectedly (exit code {code}): {mend}")


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:  # they hold nothing that must be put in order
        worker.process.kill()
        _running.discard(worker.process)


@atexit.register
def _end_all() -> None:
    for process in list(_running):
        process.kill()
    for collector in list(_collectors):  # one that is inside torch when Python goes would take the process down
        collector.join(timeout=5)
