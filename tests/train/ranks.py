"""Processes that are the ranks of small trainings, for tests: gloo on this machine, started without a launcher.

Started once with `python -m tests.train.ranks`; reads one JSON scenario a line ({"call": a function below, "size":
ranks, "out": a folder, ...}), forks the ranks, so that the imports are paid once, and answers with their exit statuses.
What the function returns on rank N lies in OUT/rankN.pt then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import lhotse.serialization  # noqa: F401  (these three are imported late by the training; here once for all)
import torch
import torch._dynamo
import torch.distributed as dist
from torch.utils.tensorboard import SummaryWriter  # noqa: F401

from aedo.data.batch import Batch
from aedo.experiment import Experiment
from aedo.train import start
from aedo.train.distributed import LostRankError, Ranks
from aedo.train.launch import EXIT_LOST
from aedo.train.signals import EXIT_REQUEUE
from aedo.train.step import Step
from aedo.train.trainer import Settings, Trainer
from tests.train.micro import NAME, micro_experiment

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
VOCABULARY = 9


def without_randomness(**train: Any) -> Experiment:
    """The micro experiment without dropout, zoneout and augmentation of features."""
    experiment = micro_experiment(**train)
    for field in ("encoder.dropout.rate", "encoder.attention.dropout", "decoder.zone_cell", "decoder.zone_hidden"):
        experiment = experiment.with_(field, 0.0)
    for field in ("decoder.readout_dropout.rate", "decoder.attention_dropout", "decoder.embedding_dropout"):
        if hasattr(experiment.decoder, field.split(".")[1]):
            experiment = experiment.with_(field, 0.0)
    return experiment.with_("augment.specaugment", None)


def batch(seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    audio = torch.rand(2, 16000, generator=random) - 0.5
    labels = torch.randint(1, VOCABULARY, (2, 3), generator=random)
    ids = (f"utterance-{seed}-0", f"utterance-{seed}-1")
    return Batch(ids, audio, torch.tensor([16000, 15000]), labels, torch.full((2,), 3))


def step_of(experiment: Experiment, ranks: Ranks) -> Step:
    torch.manual_seed(0)
    model = experiment.build_model(VOCABULARY)
    optimizer = experiment.train.optimizer.build(model)
    objective = experiment.loss.build(experiment.ctc)
    return Step(model, objective, optimizer, experiment.augment.build(), experiment.train, CPU, ranks)


# What ranks can be asked to do


def updates(ranks: Ranks, scenario: dict[str, Any]) -> dict[str, Any]:
    """Three updates; micro-step k of rank r is on batch `size` k + r.  Spoilt or missed: (micro-step, rank)."""
    from tests.train.test_step import at

    step = step_of(without_randomness(**scenario["train"]), ranks)
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    done = []
    for number in range(scenario.get("micro_steps", 3)):
        here = [number, ranks.rank]
        each = batch(ranks.size * number + ranks.rank)
        if here == scenario.get("spoilt"):
            each.audio[0] = float("nan")
        if here == scenario.get("missed"):
            step.missed()
        else:
            step.micro_step(each, at(number))
        if step.update_due(at(number)):
            update = step.update(at(number))
            done.append({"bad": [list(ids) for ids in update.bad], "grad_norm": update.grad_norm})
    parameters = {name: value.detach() for name, value in step.model.named_parameters()}
    unchanged = all(torch.equal(value, before[name]) for name, value in step.model.state_dict().items())
    return {"parameters": parameters, "updates": done, "unchanged": unchanged}


def train(ranks: Ranks, scenario: dict[str, Any]) -> dict[str, Any]:
    """A training in OUT; `signal`: [rank or None for all, micro-step, number], which comes when that micro-step begins.

    Returns how its parameters went: after every micro-step, and before every average.
    """
    parameters, averaged = list[torch.Tensor](), list[torch.Tensor]()
    micro_step, train_batch, average = Step.micro_step, Trainer._train_batch, Ranks.average

    def signalled(step: Step, one: Batch, progress: Any) -> Any:
        rank, at, number = scenario.get("signal", (None, -1, 0))
        if progress.micro_step == at and rank in (None, ranks.rank):
            os.kill(os.getpid(), number)
        return micro_step(step, one, progress)

    def noted(trainer: Trainer, *given: Any) -> None:
        train_batch(trainer, *given)
        parameters.append(torch.cat([p.detach().flatten() for p in trainer.step.parameters]))

    def noted_average(self: Ranks, tensors: Any) -> None:
        averaged.append(torch.cat([tensor.flatten() for tensor in tensors]))
        average(self, tensors)

    Step.micro_step, Trainer._train_batch, Ranks.average = signalled, noted, noted_average  # type: ignore[method-assign]
    experiment = micro_experiment(devices=ranks.size, **scenario.get("train", {}))
    settings = Settings(log_every=1, save_minutes=scenario.get("save_minutes", 0.0))
    out = Path(scenario["out"])
    _, finished = start.train(NAME, experiment, Path(scenario["data"]), out, CPU, settings, workers=0, ranks=ranks)
    if not finished:
        os._exit(EXIT_REQUEUE)
    return {"parameters": parameters, "averaged": averaged}


# The server, and how to reach it


def rank(number: int, scenario: dict[str, Any]) -> int:
    """Be one of the ranks: exit status."""
    torch.set_num_threads(1)
    out, size = Path(scenario["out"]), scenario["size"]
    store = dist.FileStore(str(out / "meeting"), size)
    dist.init_process_group("gloo", store=store, rank=number, world_size=size, timeout=timedelta(seconds=60))
    ranks = Ranks(number, size)
    try:
        result = globals()[scenario["call"]](ranks, scenario)
    except LostRankError:
        return EXIT_LOST
    torch.save(result, out / f"rank{number}.pt")
    ranks.wait()
    return 0


def serve() -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    for line in sys.stdin:
        scenario = json.loads(line)
        (Path(scenario["out"]) / "meeting").unlink(missing_ok=True)
        children = []
        for number in range(scenario["size"]):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    with open(os.devnull, "w") as nothing:
                        os.dup2(nothing.fileno(), 1)
                    status = rank(number, scenario)
                except BaseException:
                    traceback.print_exc()
                os._exit(status)
            children.append(child)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


class Server:
    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.train.ranks"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, env=environment, text=True)

    def statuses(self, call: str, out: Path, size: int = 2, **scenario: Any) -> list[int]:
        """Exit status of every rank; negative: killed by that signal."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        out.mkdir(exist_ok=True)
        whole = {"call": call, "out": str(out), "size": size, **scenario}
        print(json.dumps(whole), file=self.process.stdin, flush=True)
        statuses: list[int] = json.loads(self.process.stdout.readline())
        return statuses

    def results(self, call: str, out: Path, size: int = 2, **scenario: Any) -> list[Any]:
        """What the function returned on every rank."""
        assert self.statuses(call, out, size, **scenario) == [0] * size
        return [torch.load(out / f"rank{number}.pt", weights_only=False) for number in range(size)]

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


if __name__ == "__main__":
    serve()
