"""Training on several devices: one process each, called ranks, that meet in sums and averages.

A launcher (`aedo train --devices N`, torchrun, Slurm's srun) starts the processes and tells each its number in the
environment.  What the ranks say to each other is either tensors on their devices (gradients, parameters; NCCL between
GPUs, gloo between CPUs) or small facts on the CPU (gloo); all of them must make each such call, in the same order.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aedo.errors import UserError
from aedo.train.place import LAUNCHER, PORT, Place, first_host

BUCKET_BYTES = 64 * 2**20
"""Tensors are averaged together in pieces of this size: few large messages, little memory."""

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another, which may be writing a checkpoint or an average."""


class LostRankError(Exception):
    """Another rank ended or failed: this one cannot go on, and is not to blame."""


class Ranks:
    """The ranks of a training, seen from one of them.  With one rank, every call is free."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        if not 0 <= rank < size:
            raise ValueError(f"rank {rank} of {size}")
        self.rank, self.size = rank, size

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes logs and checkpoints and speaks to the user."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.size == 1

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} on {socket.gethostname()}"

    # Small facts, on the CPU

    def any(self, *facts: bool) -> tuple[bool, ...]:
        """For each of the facts, whether it holds on any rank."""
        if self.alone:
            return facts
        held = torch.tensor(facts, dtype=torch.int32)
        with _together():
            dist.all_reduce(held, dist.ReduceOp.MAX)
        return tuple(bool(fact) for fact in held.tolist())

    def least(self, number: int) -> int:
        """The smallest of the ranks' numbers."""
        return int(min(self.gather(number)))

    def mean(self, number: float) -> float:
        """The mean of the ranks' numbers, the same to the last bit on all of them."""
        return number if self.alone else sum(self.gather(number)) / self.size

    def gather(self, thing: Any) -> list[Any]:
        """What every rank has to say, in their order, known to all of them."""
        if self.alone:
            return [thing]
        things: list[Any] = [None] * self.size
        with _together():
            dist.all_gather_object(things, thing)
        return things

    def wait(self) -> None:
        """Until all ranks are here."""
        self.any(True)

    # Tensors, on the device

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks."""
        if self.alone:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with _together():
                dist.all_reduce(flat)
            parts = torch.split(flat.div_(self.size), [tensor.numel() for tensor in bucket])
            torch._foreach_copy_(bucket, [part.view_as(tensor) for part, tensor in zip(parts, bucket)])

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients; a parameter without one counts as zero where another rank has one."""
        if self.alone:
            return
        there = self.any(*(parameter.grad is not None for parameter in parameters))
        for parameter, wanted in zip(parameters, there):
            if wanted and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.average([parameter.grad for parameter in parameters if parameter.grad is not None])

    def take_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by that of rank 0."""
        if not self.alone:
            for tensor in tensors:
                with _together():
                    dist.broadcast(tensor, src=0)

    @contextmanager
    def model_of_main(self, model: nn.Module) -> Iterator[None]:
        """Within the block every rank has the weights and statistics of rank 0; behind it, its own again."""
        if self.alone:
            yield
            return
        mine = list(model.state_dict().values())
        kept = [] if self.main else [tensor.clone() for tensor in mine]
        self.take_from_main(mine)
        try:
            yield
        finally:
            for tensor, own in zip(mine, kept):
                tensor.copy_(own)


ALONE = Ranks()


@contextmanager
def joined(place: Place | None, device: torch.device) -> Iterator[Ranks]:
    """Meet the other ranks and, if all went well, part from them at the end."""
    if place is None or place.size == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        if place.launcher == "aedo":
            _end_with(int(os.environ[LAUNCHER]))
            store = dist.TCPStore("127.0.0.1", int(os.environ[PORT]), is_master=False)  # type: ignore[attr-defined]
            dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=PATIENCE)
        else:
            if place.launcher == "Slurm":
                _name_meeting_point()
            dist.init_process_group(backend, rank=place.rank, world_size=place.size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the {place.size} processes of this training did not find each other: {error}; check MASTER_ADDR "
            "and MASTER_PORT, that the machines may connect, and that none of the processes failed to start"
        ) from None
    ranks = Ranks(place.rank, place.size)
    yield ranks
    ranks.wait()
    dist.destroy_process_group()


def _name_meeting_point() -> None:
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "localhost")
    os.environ.setdefault("MASTER_ADDR", first_host(nodes))
    job = int(os.environ.get("SLURM_JOB_ID", 0)) + int(os.environ.get("SLURM_STEP_ID", 0))
    os.environ.setdefault("MASTER_PORT", str(20_000 + job % 10_000))


def _end_with(launcher: int) -> None:
    """Have this process save and end when the launcher is no more, however that ended."""
    import ctypes
    import signal
    import sys

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != launcher:
            raise SystemExit(1)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LostRankError(f"another rank is gone: {error}") from error


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, in lists of one type and of bounded size."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        bytes_ = tensor.numel() * tensor.element_size()
        if bucket and (size + bytes_ > BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += bytes_
    if bucket:
        yield bucket
