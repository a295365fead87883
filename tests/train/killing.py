"""A process that trains the micro experiment and can be killed at a chosen moment.

Started once with `python -m tests.train.killing`; reads one JSON scenario a line and forks a child for each, so that
the imports are paid once.  The moments are calls of the functions in `MOMENTS`, counted in order.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lhotse.serialization  # noqa: F401  (these three are imported late by the training; here once for all)
import torch
import torch._dynamo
from torch.utils.tensorboard import SummaryWriter  # noqa: F401

from aedo.files import sync_file
from aedo.train import start, trainer
from aedo.train.log import RunLog
from aedo.train.signals import EXIT_REQUEUE
from aedo.train.step import Step
from aedo.train.trainer import Settings
from tests.train.micro import NAME, micro_experiment

MOMENTS: tuple[tuple[Any, str], ...] = (
    (os, "fsync"),
    (os, "replace"),
    (os, "rename"),
    (os, "unlink"),
    (shutil, "rmtree"),
    (torch, "save"),
    (Path, "write_bytes"),
    (Step, "micro_step"),
    (Step, "update"),
    (RunLog, "epoch"),
    (trainer, "evaluate"),
)


class Moments:
    """Counts the moments of a training; at the chosen one, acts."""

    def __init__(self, at: int, act: Callable[[str, tuple[Any, ...]], None]) -> None:
        self.names: list[str] = []
        self.at, self.act = at, act
        for owner, name in MOMENTS:
            self._watch(owner, name)

    def _watch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.names.append(name)
            if len(self.names) == self.at:
                self.act(name, args)
            return original(*args, **kwargs)

        setattr(owner, name, watched)


def kill(name: str, args: tuple[Any, ...]) -> None:
    """SIGKILL, in the middle of the writing where something is being written."""
    if name == "save":
        args[1].write(b"PK half a file")
        args[1].flush()
    if name == "write_bytes":
        with open(args[0], "wb") as file:
            file.write(args[1][: len(args[1]) // 2])
        sync_file(args[0])
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(name: str, args: tuple[Any, ...]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def train(scenario: dict[str, Any]) -> int:
    """Exit status of a training; the names of its moments go into OUT/moments.json."""
    torch.set_num_threads(1)
    moments = Moments(scenario.get("at", 0), {"kill": kill, "terminate": terminate}[scenario.get("act", "kill")])
    experiment = micro_experiment(**scenario.get("train", {}))
    for path, value in scenario.get("fields", {}).items():
        experiment = experiment.with_(path, value)
    settings = Settings(log_every=1, save_minutes=scenario.get("save_minutes", 0.0))
    data, out = Path(scenario["data"]), Path(scenario["out"])
    _, finished = start.train(
        NAME, experiment, data, out, torch.device("cpu"), settings, workers=scenario.get("workers", 0)
    )
    (out / "moments.json").write_text(json.dumps(moments.names))
    return 0 if finished else EXIT_REQUEUE


def serve() -> None:
    # Loader workers would import the main module, this one, with all that it imports.
    del sys.modules["__main__"].__file__
    sys.modules["__main__"].__spec__ = None
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with open(os.devnull, "w") as nothing:
                    os.dup2(nothing.fileno(), 1)
                status = train(json.loads(line))
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
