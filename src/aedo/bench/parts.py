"""Where a training step's time goes: the real step, with a stopwatch around its parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from aedo.bench.machine import clock, forget_peak, peak_memory, synchronize
from aedo.data.batch import Batch, padded
from aedo.experiment import Experiment
from aedo.schedule import Progress
from aedo.train.step import Step

PARTS = ("data", "features", "augment", "encoder", "CTC", "decoder", "backward", "optimizer")
"""In the order of the step; what is left of it is `other`."""
KINDS: dict[str, tuple[str, ...]] = {
    "products": ("mm", "linear", "matmul", "conv", "einsum", "attention", "lstm", "_loop", "gemm", "addmv"),
    "random numbers": ("bernoulli", "uniform", "random", "dropout", "normal_"),
    "softmax, losses": ("softmax", "ctc", "nll", "logsumexp"),
    "norms": ("norm",),
    "optimizer": ("adam", "foreach"),
    "copies": ("copy", "cat", "contiguous", "clone", "pad", "index", "gather", "scatter", "fill", "zero", "to_copy"),
}
"""Kinds of operators by what is in their names, the first that fits; all others go element by element."""
SPEECH = Progress(10**6, 10**6, 1000.0, 0.5)
"""Where in the training: the middle, behind every warm-up."""


@dataclass(frozen=True)
class Shape:
    """A batch of utterances that are all alike."""

    utterances: int
    samples: int
    labels: int
    """EOS not counted."""

    def sizes(self) -> list[tuple[int, int]]:
        """(samples, labels) of every utterance."""
        return [(self.samples, self.labels)] * self.utterances


@dataclass(frozen=True)
class Steps:
    """Seconds of every step measured."""

    whole: list[float]
    parts: dict[str, list[float]]
    """By the names in PARTS and `other`."""
    memory: int | None
    """Most bytes used, where that is known."""
    operators: list[tuple[str, float]]
    """The operators that took most of one step, and their share of it."""
    kinds: dict[str, float]
    """Shares of one step by the kind of operator (see KINDS)."""

    def median(self, part: str) -> float:
        return median(self.parts[part])


class Stopwatch:
    """Adds up the seconds inside calls, by name, without those of calls inside them that are timed, too.

    A GPU is waited for where calls begin and end.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, defaultdict[str, float](float)
        self._inside = [0.0]
        """Seconds of the calls inside each call that runs."""
        self._undo: list[Callable[[], None]] = []

    def around(self, owner: Any, attribute: str, name: str) -> None:
        """From now on, and until `leave`, calls of `owner.attribute` are timed under `name`."""
        inner: Callable[..., Any] = getattr(owner, attribute)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.measuring(name):
                return inner(*arguments, **options)

        if attribute in vars(owner):
            self._undo.append(lambda: setattr(owner, attribute, inner))
        else:  # a method of the class, which ours hides
            self._undo.append(lambda: vars(owner).pop(attribute))
        setattr(owner, attribute, timed)

    def leave(self) -> None:
        """Everything as it was."""
        while self._undo:
            self._undo.pop()()

    @contextmanager
    def measuring(self, name: str) -> Iterator[None]:
        self._inside.append(0.0)
        begin = clock(self.device)
        try:
            yield
        finally:
            spent = clock(self.device) - begin
            self.seconds[name] += spent - self._inside.pop()
            self._inside[-1] += spent


class Bench:
    """An experiment's step on synthetic data."""

    def __init__(self, experiment: Experiment, vocabulary: int, shape: Shape, device: torch.device) -> None:
        torch.manual_seed(1)
        self.shape, self.device = shape, device
        model = experiment.build_model(vocabulary).to(device)
        objective = experiment.loss.build(experiment.ctc)
        optimizer = experiment.train.optimizer.build(model)
        self.step = Step(model, objective, optimizer, experiment.augment.build(), experiment.train, device)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        random = np.random.default_rng(1)
        size = (shape.utterances, shape.samples)
        self._rows = list(random.uniform(-1.0, 1.0, size).astype(np.float32))
        labels = random.integers(1, max(2, vocabulary), (shape.utterances, shape.labels))
        self._labels = [row.astype(np.int64) for row in labels]

    def run(self, steps: int) -> Steps:
        """Whole steps as a training does them, then as many with the stopwatch, in turns; one step goes before."""
        forget_peak(self.device)
        self._once()
        whole, parts = [], defaultdict[str, list[float]](list)
        for _ in range(steps):
            whole.append(self._timed())
            for name, seconds in self._watched().items():
                parts[name].append(seconds)
        memory, spent = peak_memory(self.device), self._operators()
        kinds = defaultdict[str, float](float)
        for name, share in spent:
            kinds[kind_of(name)] += share
        return Steps(whole, dict(parts), memory, spent[:10], dict(sorted(kinds.items(), key=lambda item: -item[1])))

    def _watched(self) -> dict[str, float]:
        """Seconds of each part of a step, and of what is left."""
        stopwatch = Stopwatch(self.device)
        watch(self.step, stopwatch)
        try:
            with stopwatch.measuring("other"):
                with stopwatch.measuring("data"):
                    batch = self._batch()
                self._work(batch)
        finally:
            stopwatch.leave()
        return {name: stopwatch.seconds[name] for name in (*PARTS, "other")}

    def _timed(self) -> float:
        begin = clock(self.device)
        self._once()
        return clock(self.device) - begin

    def _once(self) -> None:
        self._work(self._batch())

    def _work(self, batch: Batch) -> None:
        self.step.micro_step(batch, SPEECH)
        self.step.update(SPEECH)

    def _batch(self) -> Batch:
        """Utterances padded into one batch, as a loader's process hands it over."""
        audio, labels = padded(self._rows, np.float32), padded(self._labels, np.int64)
        lengths = [torch.full((self.shape.utterances,), n) for n in (self.shape.samples, self.shape.labels)]
        ids = tuple(map(str, range(self.shape.utterances)))
        return Batch(ids, torch.from_numpy(audio), lengths[0], torch.from_numpy(labels), lengths[1])

    def _operators(self) -> list[tuple[str, float]]:
        """The operators of one step by the share they took of themselves, without those they call."""
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profile:
            self._once()
            synchronize(self.device)
        kind = "self_device_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        spent = {event.key: float(getattr(event, kind)) for event in profile.key_averages()}
        total = sum(spent.values()) or 1.0
        return sorted(((name, seconds / total) for name, seconds in spent.items()), key=lambda item: -item[1])


def kind_of(operator: str) -> str:
    """Which of KINDS an operator is."""
    name = operator.rpartition("::")[2].lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "element by element")


def watch(step: Step, stopwatch: Stopwatch) -> None:
    """Put the stopwatch around the parts of a step."""
    model, objective = step.model, step.objective
    stopwatch.around(model.features, "forward", "features")
    stopwatch.around(model, "encode", "encoder")
    for head in {id(model.ctc_heads.of(layer)): model.ctc_heads.of(layer) for layer in model.ctc_layers}.values():
        stopwatch.around(head, "forward", "CTC")
    stopwatch.around(objective, "_ctc_loss", "CTC")
    if model.decoder is not None:
        stopwatch.around(model.decoder, "forward", "decoder")
        stopwatch.around(objective, "_decoder_terms", "decoder")
    stopwatch.around(step, "augment", "augment")
    stopwatch.around(torch.autograd, "backward", "backward")
    stopwatch.around(step, "update", "optimizer")
