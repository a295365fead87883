"""The same training by two versions of the code: the loss of every step, and how far rounding alone drives them apart.

    python benchmarks/same_training.py [--data data/an4] [--against REVISION] [--name base-tiny] [--steps 200]
                                       [--precision float32] [--threads 1]

Trains NAME for so many steps with this code, with that of a git revision (by default the last one in which everything
was left to autograd and torch's own operators), and once more with that revision where after every update every weight
is changed in its last digit: that is what rounding alone does.  Weights and batches are the same; dropout, zoneout and
SpecAugment, whose random numbers may be drawn in another order, are off.  Without --data the batches are noise.  Ends
with status 1 where the losses are farther apart than stated below.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

PLAIN = "eb32d20"
TOLERANCE = {"float32": 0.02, "bfloat16": 0.1}
"""Largest difference of a step's loss, relative to it.  Rounding grows from step to step whatever the code does: where
it is beyond a fifth of this by itself, five times the difference that rounding makes is the limit."""
OFF: dict[str, Any] = {
    "augment.specaugment": None, "augment.speed": None, "encoder.dropout.rate": 0.0, "encoder.attention.dropout": 0.0,
    "encoder.attention.position.dropout": 0.0, "decoder.readout_dropout.rate": 0.0, "decoder.zone_cell": 0.0,
    "decoder.zone_hidden": 0.0, "train.accumulate": 1, "train.learning_rate": {"kind": "constant", "value": 5e-4},
    "loader.workers": 0,
}  # fmt: skip


def train(job: dict[str, Any]) -> list[float]:
    """The losses, with whatever code is on the path."""
    from aedo.recipes.names import resolve
    from aedo.schedule import Progress
    from aedo.train.step import Step

    torch.set_num_threads(job["threads"])
    experiment = resolve(job["name"]).with_("train.precision", job["precision"])
    for field, value in OFF.items():
        experiment = experiment.with_(field, value)
    torch.manual_seed(1)
    vocabulary = experiment.tokenizer.size
    model = experiment.build_model(vocabulary)
    optimizer, augment = experiment.train.optimizer.build(model), experiment.augment.build()
    objective = experiment.loss.build(experiment.ctc)
    step = Step(model, objective, optimizer, augment, experiment.train, torch.device("cpu"))
    losses = []
    for number, batch in zip(range(job["steps"]), batches(experiment, model, job)):
        progress = Progress(100_000 + number, number, 100.0, 0.5)
        losses.append(float(step.micro_step(batch, progress).total))
        step.update(progress)
        if job["disturbed"]:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1 + torch.finfo(torch.float32).eps / 2 * torch.randn_like(parameter))
    return losses


def batches(experiment: Any, model: Any, job: dict[str, Any]) -> Any:
    """Real ones again and again, or noise: short utterances of different lengths."""
    from aedo.data.batch import Batch

    if job["data"] is None:
        random = np.random.default_rng(1)
        while True:
            samples, labels = np.sort(random.integers(8_000, 32_000, 6))[::-1], random.integers(2, 7, 6)
            audio = random.normal(0.0, 0.2, (6, samples[0])) * (np.arange(samples[0]) < samples[:, None])
            ids = random.integers(2, experiment.tokenizer.size, (6, labels.max()))
            ids = ids * (np.arange(labels.max()) < labels[:, None])
            shapes = (torch.from_numpy(samples.copy()), torch.from_numpy(ids), torch.from_numpy(labels))
            yield Batch(tuple("abcdef"), torch.from_numpy(audio.astype(np.float32)), *shapes)
    from aedo.data.loader import Loader
    from aedo.data.manifest import Manifest
    from aedo.data.text import train_tokenizer
    from aedo.schedule import START

    manifest = Manifest.open(Path(job["data"]), "train")
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(experiment.tokenizer, manifest.texts(), Path(folder))
    frames = model.encoder_frames
    loader = Loader(manifest, tokenizer, experiment.reading(), seed=1, frames=frames, training=True)
    epoch = 0
    while True:
        epoch += 1
        yield from (loaded.batch for loaded in loader.batches(epoch, START) if loaded.batch is not None)


def run(source: Path, job: dict[str, Any]) -> list[float]:
    """In a process of its own, with the code in `source`."""
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"}
    answer = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(job)], env=environment, capture_output=True, text=True
    )
    if answer.returncode:
        sys.exit(answer.stderr)
    losses: list[float] = json.loads(answer.stdout.splitlines()[-1])
    return losses


def apart(one: list[float], other: list[float]) -> list[float]:
    return [abs(a - b) / abs(b) for a, b in zip(one, other, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--against", default=PLAIN)
    parser.add_argument("--name", default="base-tiny")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--precision", default="float32", choices=list(TOLERANCE))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(train(json.loads(options.job))))
        return
    here = Path(__file__).resolve().parents[1]
    job: dict[str, Any] = {
        "name": options.name, "precision": options.precision, "steps": options.steps, "threads": options.threads,
        "data": None if options.data is None else str(options.data.resolve()), "disturbed": False,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "-C", str(here), "archive", options.against, "src"], capture_output=True)
        if archive.returncode:
            sys.exit(f"error: --against {options.against}: {archive.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        fast, plain = run(here / "src", job), run(Path(folder) / "src", job)
        disturbed = run(Path(folder) / "src", {**job, "disturbed": True})
    ours, rounding = apart(fast, plain), apart(disturbed, plain)
    what = "noise" if options.data is None else options.data
    print(f"{date.today()}: {options.name} on {what}, {options.precision}, against {options.against}")
    ends = f"{mean(plain[-10:]):.4f}, by this code {mean(fast[-10:]):.4f}"
    print(f"loss: first {plain[0]:.4f}, mean of the last ten {ends}")
    for steps in (1, 10, 50, 100, options.steps):
        if steps <= options.steps:
            print(f"largest difference in the first {steps:4} steps: {max(ours[:steps]):.2e}   by rounding alone: "
                  f"{max(rounding[:steps]):.2e}")  # fmt: skip
    limit = max(TOLERANCE[options.precision], 5 * max(rounding))
    good = max(ours) <= limit
    print(f"{'the same' if good else 'NOT the same'}: largest difference {max(ours):.2e}, tolerated {limit:.2e}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
