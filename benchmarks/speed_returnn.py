"""The full-size model in aedo and in RETURNN from PyPI: equal results first, then time and memory side by side.

    python benchmarks/speed_returnn.py [--quick] [--only step,search4] [--precision float32,bfloat16] [--rounds 5]

Four utterances of 10 s, 40 labels, the model of `base-24gb-v6`.  Parts: `step` (samples to update: features, forward,
losses, backward, clipping, AdamW), `encoder` (samples to states), `decoder` (states to losses and back), `search1` and
`search4` (beam 12, 40 steps, one and four utterances, behind the encoder).  SpecAugment is left out of both, dropout
and zoneout are in both.  Each system does each part in a process of its own, a few times untimed at first; rounds
alternate, the table shows medians.

`--quick`: for a busy machine; one thread, few rounds, and processor time instead of time.  RETURNN is installed into an
environment of its own (--env), which borrows torch from this one; --python names one that is there already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
from parity_returnn import CACHE, environment, sizes_of
from peers.compare import compare

from aedo.bench.machine import matrix_throughput
from aedo.bench.work import DTYPES, search_work, work_of
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.interop.returnn import export_state
from aedo.nn.precision import EMULATED
from aedo.recipes.names import resolve
from aedo.score.tables import table
from aedo.train.precision import Precision, computed

PEERS = Path(__file__).parent / "peers"
PARTS = ("encoder", "search1", "search4", "decoder", "step")
RATE = 1e-5  # of learning: weights hardly move
WARM = {"encoder": 2, "search1": 22, "search4": 6, "decoder": 3, "step": 3}
"""Untimed rounds, until all is ready: tables of a search when it has had as many labels as there are."""
VOCABULARY, UTTERANCES, SECONDS, LABELS, BEAM, STEPS = 10_025, 4, 10, 40, 12, 40
UNDROPPED: dict[str, float] = dict.fromkeys(
    (
        "encoder.dropout.rate", "encoder.attention.dropout", "encoder.attention.position.dropout",
        "decoder.readout_dropout.rate", "decoder.zone_cell", "decoder.zone_hidden",
    ), 0.0,
)  # fmt: skip
"""What makes two trainings differ by chance alone."""


class Worker:
    """One system's process."""

    def __init__(self, python: str, script: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [python, str(PEERS / script), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name, self.folder = script.split("_")[0], folder
        self.version = self._answer()["ready"]

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # it ends with its input

    def check(self, what: str, precision: str) -> Any:
        out = self.folder / f"{self.name}.{what}"
        self.ask("check", what=what, precision=precision, out=str(out))
        found = torch.load(out, weights_only=True)
        out.unlink()
        return found

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"{self.name} ended; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def experiment_of(name: str) -> Experiment:
    experiment = resolve(name).with_("augment.specaugment", None).with_("augment.speed", None)
    steady = experiment.with_("train.learning_rate", {"kind": "constant", "value": RATE})
    return steady.with_("train.accumulate", 1)


def write_job(folder: Path, experiment: Experiment, threads: int) -> None:
    """The weights in both systems' names, the inputs, and what else they must know."""
    plain = experiment
    for field, value in UNDROPPED.items():
        plain = plain.with_(field, value)
    sizes, theirs = sizes_of(experiment, VOCABULARY), sizes_of(plain, VOCABULARY)
    optimizer = experiment.train.optimizer
    job = {
        "threads": threads, "behavior_version": 24, "beam": BEAM, "steps": STEPS, "no_eos": 100.0, "lr": RATE,
        "sizes": sizes, "undropped": {key: theirs[key] for key in sizes if sizes[key] != theirs[key]},
        "experiment": experiment.model_dump(mode="json"),
        "undropped_experiment": plain.model_dump(mode="json"),
        "smoothing": experiment.loss.label_smoothing, "clip": experiment.train.gradients.clip_norm,
        "adamw": {"betas": optimizer.betas, "eps": optimizer.eps, "weight_decay": optimizer.weight_decay.value},
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    torch.manual_seed(1)
    model = experiment.build_model(VOCABULARY)
    with torch.no_grad():
        for parameter in model.parameters():  # nothing may hide behind a zero
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
        model.decoder.output.weight.mul_(10)  # type: ignore[union-attr]  # labels told apart, beyond rounding
    torch.save(model.state_dict(), folder / "aedo.pt")
    torch.save({"model": export_state(model)}, folder / "model.pt")
    torch.save(inputs(model.encoder_frames, experiment.encoder.dim), folder / "inputs.pt")


def inputs(frames: Any, dim: int) -> dict[str, torch.Tensor]:
    """A batch of full length to time, the same ragged to compare, and encoder states of usual size."""
    samples = torch.tensor([SECONDS * 16_000] * UTTERANCES)
    audio = torch.randn(UTTERANCES, int(samples[0]))
    labels = torch.randint(1, VOCABULARY, (UTTERANCES, LABELS))
    ragged, fewer = samples - torch.arange(UTTERANCES) * 16_111, torch.full((UTTERANCES,), LABELS)
    states = torch.randn(UTTERANCES, int(frames(samples)[0]), dim)
    return {
        "audio": audio / audio.abs().amax(1, keepdim=True), "audio_lengths": samples, "labels": labels,
        "label_lengths": fewer, "ragged_audio_lengths": ragged, "ragged_labels": labels,
        "ragged_label_lengths": fewer - 5 * torch.arange(UTTERANCES), "states": states,
    }  # fmt: skip


def floors(experiment: Experiment, threads: int, precisions: list[Precision]) -> dict[str, dict[str, float]]:
    """Seconds that the products of each part take at the machine's best, by precision."""
    torch.set_num_threads(threads)
    whole = work_of(experiment, VOCABULARY, [(SECONDS * 16_000, LABELS)] * UTTERANCES)
    model = experiment.build_model(1)
    frames = int(model.encoder_frames(torch.tensor([SECONDS * 16_000]))[0])
    one = search_work(experiment, VOCABULARY, frames, STEPS, BEAM)
    needed = {
        "encoder": whole.encoding, "search1": one, "search4": 4 * one, "decoder": 3 * whole.decoder,
        "step": whole.training,
    }  # fmt: skip
    found = {}
    for precision in precisions:
        kind = computed(torch.device("cpu"), precision)
        if kind != precision:
            print(f"{EMULATED} (aedo, that is; RETURNN emulates it)")
        rate = matrix_throughput(torch.device("cpu"), DTYPES[kind], seconds=3.0)
        print(f"{kind}: {2e-9 * rate:.0f} GFLOP/s in matrix products on {threads} threads", flush=True)
        found[precision] = {part: count / rate for part, count in needed.items()}
    print("multiply-adds: " + ", ".join(f"{part} {count / 1e9:.1f} G" for part, count in needed.items()), flush=True)
    return found


def measure(workers: list[Worker], part: str, precision: str, rounds: int) -> list[dict[str, list[float]]]:
    """Of each worker the rounds' times and the peak memory."""
    found: list[dict[str, list[float]]] = [defaultdict(list) for _ in workers]
    for worker in workers:
        worker.ask("begin", part=part, precision=precision, rounds=WARM[part])
    for _ in range(rounds):
        for worker, mine in zip(workers, found):
            for kind, value in worker.ask("round").items():
                mine[kind].append(value)
    for worker, mine in zip(workers, found):
        mine["peak"].append(worker.ask("end")["peak"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--precision", default="float32,bfloat16")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--name", default="base-24gb-v6", help="another experiment with an LSTM decoder")
    parser.add_argument("--no-check", action="store_true", help="time without comparing results: for a profiler only")
    parser.add_argument("--json", type=Path, help="write all times here")
    parser.add_argument("--env", type=Path, default=CACHE)
    parser.add_argument("--python", type=Path, help="an interpreter that has returnn, dm-tree and torch")
    options = parser.parse_args()
    threads = options.threads or (1 if options.quick else 2)
    rounds, clock = options.rounds or (3 if options.quick else 7), "processor" if options.quick else "wall"
    precisions, parts = options.precision.split(","), [part for part in PARTS if part in options.only.split(",")]
    experiment = experiment_of(options.name)

    print(
        f"{date.today()}, {options.name}, {UTTERANCES} x {SECONDS} s, {LABELS} labels, {threads} threads, {clock} time"
    )
    floor = floors(experiment, threads, precisions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder, experiment, threads)
        python = str(options.python or environment(options.env))
        systems = ((sys.executable, "aedo_speed.py"), (python, "returnn_speed.py"))
        with Worker(*systems[0], folder) as mine, Worker(*systems[1], folder) as other:
            print(f"{mine.version}, {other.version}", flush=True)
            for precision in precisions if not options.no_check else []:
                compare([mine, other], precision, parts)
        rows, kept = [], {}
        for precision in precisions:
            for part in parts:
                with Worker(*systems[0], folder) as mine, Worker(*systems[1], folder) as other:
                    ours, theirs = measure([mine, other], part, precision, rounds)
                kept[f"{part} {precision}"] = {"aedo": ours, "RETURNN": theirs, "floor": floor[precision][part]}
                rows.append(row(part, precision, ours, theirs, floor[precision][part], clock))
                print(" | ".join(rows[-1]), flush=True)
    print()
    head = ("part", "precision", "aedo s", "RETURNN s", "times faster", "floor s", "share of it", "MB", "MB", "memory")
    print(table(head, rows))
    print("seconds: median (least, most) over the rounds; share of it: floor / aedo; MB: most memory of aedo, RETURNN")
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))


def row(part: str, precision: str, ours: Any, theirs: Any, floor: float, clock: str) -> tuple[str, ...]:
    mine, other = (statistics.median(found[clock]) for found in (ours, theirs))
    shown = [f"{statistics.median(x[clock]):.3f} ({min(x[clock]):.3f}, {max(x[clock]):.3f})" for x in (ours, theirs)]
    peaks = [found["peak"][0] for found in (ours, theirs)]
    return (part, precision, *shown, f"{other / mine:.2f}", f"{floor:.3f}", f"{floor / mine:.0%}",
            *(f"{peak:.0f}" for peak in peaks), f"{peaks[0] / peaks[1]:.2f}")  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
