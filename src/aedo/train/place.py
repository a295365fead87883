"""Where a launcher (ours, torchrun, Slurm's srun) put this process: its number, how many there are, and its device."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from aedo.errors import UserError

LAUNCHER, PORT, ENDS = "AEDO_LAUNCHER", "AEDO_LAUNCHER_PORT", "AEDO_LAUNCHER_ENDS"
"""Set by our own launcher: its process, the port of its store, and the folder where ranks say what ended them."""


@dataclass(frozen=True)
class Place:
    """Where a launcher put this process."""

    rank: int
    size: int
    """Ranks in all."""
    local_rank: int
    """Number on this machine."""
    local_size: int
    launcher: Literal["aedo", "torchrun", "Slurm"]


def find_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """What the launcher says; None where there is none.  UserError where it makes no sense."""
    try:
        if "RANK" in environment and "WORLD_SIZE" in environment:
            return _place_of_torchrun(environment)
        if "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment:
            return _place_of_slurm(environment)
    except (ValueError, KeyError) as error:
        raise UserError(f"the environment of the launcher is broken: {error!r}; start the training again") from None
    return None


def _place_of_torchrun(environment: Mapping[str, str]) -> Place:
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    local_rank = int(environment.get("LOCAL_RANK", rank))
    local_size = int(environment.get("LOCAL_WORLD_SIZE", size))
    return Place(rank, size, local_rank, local_size, "aedo" if LAUNCHER in environment else "torchrun")


def _place_of_slurm(environment: Mapping[str, str]) -> Place | None:
    # A batch script, too, is told of its job's tasks, but it is one process: only a step (srun) has them all.
    if "SLURM_JOB_ID" in environment and "SLURM_STEP_ID" not in environment:
        return None
    size = int(environment.get("SLURM_STEP_NUM_TASKS", environment["SLURM_NTASKS"]))
    if size == 1:
        return None
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_NTASKS_PER_NODE", str(size)))
    found = re.match(r"\d+", tasks)  # 4(x2) where all nodes have as many
    local_size = int(found[0]) if found else size
    return Place(int(environment["SLURM_PROCID"]), size, int(environment["SLURM_LOCALID"]), local_size, "Slurm")


def local_device(device: torch.device, local_rank: int, local_size: int) -> torch.device:
    """The device of one of the processes on this machine: cpu, or a GPU each.  UserError where there are too few."""
    if device.type == "cpu" or local_size == 1:
        return device
    if device.index is not None:
        raise UserError(f"--device {device}: {local_size} processes cannot share one GPU; use --device cuda")
    there = torch.cuda.device_count()
    if there == 1 and "SLURM_PROCID" in os.environ:  # each process may have been shown its own alone
        return torch.device("cuda", 0)
    if there < local_size:
        raise UserError(
            f"{local_size} devices wanted, {there} GPUs here: use fewer (--devices), more machines, or --device cpu"
        )
    return torch.device("cuda", local_rank)


def share_threads(wanted: int | None, processes: int) -> None:
    """Give torch as many threads as wanted; by default, those it chose itself divided among the processes here."""
    if wanted is not None:
        torch.set_num_threads(wanted)
    elif processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def first_host(nodes: str) -> str:
    """The first of the machines in Slurm's notation: node[01-04,07],gpu3 -> node01."""
    found = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", found[0]) if found else "localhost"
