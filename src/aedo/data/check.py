"""Every audio file of a corpus decoded once before training: usable, or refused with a reason.

Runs over worker processes; they import this module, so it stays light.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aedo.data.audio import AudioProblem, check_container, check_format, check_samples, decode, mono, write_flac
from aedo.errors import UserError

_INLINE = 64  # fewer files than this are checked faster than a process starts


class Task(NamedTuple):
    """One file to check; `target` is where a resampled copy goes (None: a wrong format is refused)."""

    audio: Path
    sample_rate: int
    target: Path | None = None


class Checked(NamedTuple):
    """What the check found: the file to use, its length and a fingerprint of its samples, or why not."""

    audio: Path
    num_samples: int = 0
    fingerprint: bytes = b""
    problem: str | None = None


def check(task: Task) -> Checked:
    """Decode the whole file; convert it when it has another format and a target is given.

    Raises UserError when the converted copy cannot be written.
    """
    try:
        if task.audio.is_file():
            check_container(task.audio)
        decoded = decode(task.audio)
        check_samples(decoded.samples)
        fits = decoded.rate == task.sample_rate and decoded.samples.shape[1] == 1
        if task.target is None:
            check_format(decoded.rate, decoded.samples.shape[1], task.sample_rate)
        samples = decoded.samples[:, 0] if fits else mono(decoded, task.sample_rate)
        fingerprint = hashlib.blake2b(np.ascontiguousarray(samples).tobytes(), digest_size=16).digest()
        if fits or task.target is None:
            return Checked(task.audio, len(samples), fingerprint)
        check_samples(samples)  # channels in opposite phase cancel out
    except AudioProblem as problem:
        return Checked(task.audio, problem=problem.reason)
    except OSError as error:
        return Checked(task.audio, problem=f"audio is unreadable or truncated: {error}")
    write_flac(task.target, samples, task.sample_rate)
    return Checked(task.target, len(samples), fingerprint)


def check_all(tasks: Sequence[Task], jobs: int) -> Iterator[Checked]:
    """`check` of every task, in order."""
    if jobs <= 1 or len(tasks) < _INLINE:
        yield from map(check, tasks)
        return
    context = multiprocessing.get_context("spawn")  # the caller may have threads (progress bar, torch)
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        try:
            yield from pool.map(check, tasks, chunksize=16)
        except BrokenProcessPool as error:
            raise UserError(
                "a process that checked audio died (out of memory, or a file that crashes libsndfile); "
                "run it again with --jobs 1: the progress bar then stops at the file"
            ) from error


def available_cores() -> int:
    """Cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
