"""What `aedo bench NAME` finds out: a step's parts, and how near they are to what the machine can do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from aedo.bench.machine import matrix_throughput
from aedo.bench.parts import PARTS, SPEECH, Bench, Shape, Steps
from aedo.bench.work import DTYPES, Work, work_of
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.nn.precision import EMULATED
from aedo.schedule import value_at
from aedo.score.tables import table
from aedo.train.precision import computed

log = logging.getLogger(__name__)

USUAL_SECONDS = 12.0
"""Length of an utterance where only the size of the batch is known: the mean of LibriSpeech."""
LABELS_A_SECOND = 4.0
"""Where the number of labels is not given; with BPE of 10,000 labels there are about three in read English."""
LETTERS = 32
"""Size of a vocabulary of characters, which no experiment states."""


@dataclass(frozen=True)
class Wanted:
    """What to measure; None: as the experiment has it."""

    precision: str | None = None
    batch_seconds: float | None = None
    utterances: int | None = None
    labels: int | None = None
    steps: int = 5


@dataclass(frozen=True)
class Breakdown:
    """A step in numbers."""

    name: str
    device: str
    precision: str
    """What is computed in."""
    threads: int | None
    shape: Shape
    sample_rate: int
    parameters: int
    steps: Steps
    work: Work
    rate: float
    """Multiply-adds per second of the machine's matrix products."""

    @property
    def seconds(self) -> float:
        """Of a whole step, the median."""
        return median(self.steps.whole)

    @property
    def audio_per_second(self) -> float:
        return self.shape.utterances * self.shape.samples / self.sample_rate / self.seconds

    @property
    def utilization(self) -> float:
        """Of the machine's matrix throughput (MFU)."""
        return self.work.training / self.rate / self.seconds

    def floors(self) -> dict[str, float]:
        """Seconds that the products of a part take at the machine's best."""
        work = self.work
        forward = work.frontend + work.first + work.encoder + work.ctc + work.decoder
        needed = {
            "features": work.features,
            "encoder": work.first + work.frontend + work.encoder,
            "CTC": work.ctc,
            "decoder": work.decoder,
            "backward": 2 * forward - work.first,
        }
        return {name: needed.get(name, 0) / self.rate for name in (*PARTS, "other")}

    def as_json(self) -> dict[str, Any]:
        floors = self.floors()
        return {
            "name": self.name,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "utterances": self.shape.utterances,
            "seconds_each": self.shape.samples / self.sample_rate,
            "labels_each": self.shape.labels,
            "parameters": self.parameters,
            "step_seconds": self.steps.whole,
            "parts": {part: {"seconds": seconds, "floor": floors[part]} for part, seconds in self.steps.parts.items()},
            "multiply_adds": self.work.training,
            "matrix_multiply_adds_per_second": self.rate,
            "mfu": self.utilization,
            "audio_seconds_per_second": self.audio_per_second,
            "peak_memory": self.steps.memory,
            "kinds": self.steps.kinds,
            "operators": dict(self.steps.operators),
        }

    def as_text(self) -> str:
        """The table and what stands around it."""
        shape, floors, whole = self.shape, self.floors(), sum(self.steps.median(part) for part in self.steps.parts)
        rows = []
        for part in self.steps.parts:
            seconds, floor = self.steps.median(part), floors[part]
            beyond = (seconds - floor) / whole
            near = f"{floor / seconds:.0%}" if floor and seconds else ""
            rows.append(
                (part, f"{1e3 * seconds:.1f}", f"{seconds / whole:.1%}", f"{1e3 * floor:.1f}", near, f"{beyond:.1%}")
            )
        rows.append(("step", f"{1e3 * whole:.1f}", "100.0%", f"{1e3 * sum(floors.values()):.1f}", "", ""))
        where = self.device if self.threads is None else f"{self.device}, {self.threads} threads"
        memory = "" if self.steps.memory is None else f", at most {self.steps.memory / 1e9:.2f} GB of memory"
        spent = ", ".join(f"{name} {share:.0%}" for name, share in self.steps.operators)
        kinds = ", ".join(f"{name} {share:.0%}" for name, share in self.steps.kinds.items())
        least, most = min(self.steps.whole), max(self.steps.whole)
        return "\n".join(
            [
                f"{self.name}: {self.parameters / 1e6:.1f} M parameters, {self.precision} on {where}; "
                f"{shape.utterances} x {shape.samples / self.sample_rate:.2f} s, {shape.labels} labels each",
                table(("part", "ms", "of the step", "floor ms", "near it", "beyond it"), rows),
                f"whole step, no stopwatch inside: {1e3 * self.seconds:.1f} ms "
                f"(least {1e3 * least:.1f}, most {1e3 * most:.1f}){memory}",
                f"{self.audio_per_second:.1f} s of audio per second; MFU {self.utilization:.1%}: "
                f"{2e-9 * self.work.training:.1f} GFLOP at {2e-9 * self.rate:.0f} GFLOP/s of matrix products",
                f"kinds of operators: {kinds}",
                f"the largest: {spent}",
            ]
        )


def breakdown(name: str, experiment: Experiment, device: torch.device, wanted: Wanted) -> Breakdown:
    """Measure an experiment's step at its real size."""
    if wanted.precision is not None:
        if wanted.precision not in DTYPES:
            raise UserError(f"--precision {wanted.precision}: unknown; use {', '.join(DTYPES)}")
        experiment = experiment.with_("train.precision", wanted.precision)
    experiment = experiment.with_("train.accumulate", 1)
    shape = shape_of(experiment, wanted)
    vocabulary = LETTERS if experiment.tokenizer.kind == "char" else experiment.tokenizer.size
    precision = computed(device, experiment.train.precision)
    if precision != experiment.train.precision:
        log.warning(EMULATED)
    rate = matrix_throughput(device, DTYPES[precision])
    bench = Bench(experiment, vocabulary, shape, device)
    return Breakdown(
        name,
        torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        precision,
        torch.get_num_threads() if device.type == "cpu" else None,
        shape,
        experiment.audio.sample_rate,
        bench.parameters,
        bench.run(wanted.steps),
        work_of(experiment, vocabulary, shape.sizes()),
        rate,
    )


def shape_of(experiment: Experiment, wanted: Wanted) -> Shape:
    """As many utterances of the usual length as the experiment's batches hold, or what is wanted instead."""
    rate = experiment.audio.sample_rate
    samples = value_at(experiment.batch.max_samples, SPEECH)
    if wanted.batch_seconds is not None:
        samples = wanted.batch_seconds * rate
    utterances = wanted.utterances or max(
        1, min(experiment.batch.max_utterances, round(samples / rate / USUAL_SECONDS))
    )
    each = int(samples / utterances)
    most = experiment.batch.max_labels
    labels = round(LABELS_A_SECOND * each / rate)
    if wanted.labels is not None:
        labels = wanted.labels
    elif most is not None:
        labels = min(labels, most - 1)
    return Shape(utterances, each, max(1, labels))
