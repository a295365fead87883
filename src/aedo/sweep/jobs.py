"""What is left to do for a job, judged by its run folder alone: this is how a sweep skips and goes on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder, read_experiment
from aedo.score.decode import Decoding, SetOfCuts, decoded
from aedo.search.choose import choose, preferred
from aedo.search.config import NAMES, Kind, check_kind, name_of
from aedo.sweep.plan import Job, refuse
from aedo.train.average import MOVING
from aedo.train.config import TrainConfig
from aedo.train.origin import Origin

Step = Literal["training", "recognising"]


@dataclass(frozen=True)
class Search:
    """How sets are decoded."""

    kind: Kind | None = None
    """None: the experiment's own."""
    beam: int | None = None
    """None: the experiment's own."""

    @classmethod
    def parse(cls, text: str) -> Search:
        """beam: the experiment's own; beam4: with four hypotheses; joint, ctc ...: of that kind; joint+beam4: both."""
        own = re.fullmatch(r"beam([1-9]\d*)?", text.strip())
        if own is not None:
            return cls(None, int(own[1]) if own[1] else None)
        named = re.fullmatch(r"([a-z-]+)(?:\+beam([1-9]\d*))?", text.strip())
        if named is None or named[1] not in NAMES:
            names = ", ".join(NAMES)
            raise UserError(
                f"--search {text}: not a search; give beam, beamN, {names}, or NAME+beamN, joined by commas"
            )
        if named[1] == "ctc" and named[2]:
            raise UserError(
                f"--search {text}: the best CTC path is a single one; give ctc or ctc-prefix+beam{named[2]}"
            )
        return cls(NAMES[named[1]], int(named[2]) if named[2] else None)

    @property
    def name(self) -> str:
        if self.kind is None:
            return "beam" if self.beam is None else f"beam{self.beam}"
        name = name_of(self.kind)
        return name if self.beam is None else f"{name}+beam{self.beam}"

    @property
    def options(self) -> list[str]:
        """For `aedo recog`."""
        beam = [] if self.beam is None else ["--beam", str(self.beam)]
        return [*([] if self.kind is None else ["--search", name_of(self.kind)]), *beam]


@dataclass(frozen=True)
class Work:
    """What the jobs of a sweep have in common."""

    data: Path
    out: Path
    sets: tuple[SetOfCuts, ...]
    searches: tuple[Search, ...]
    checkpoint: str = ""
    """Label, best, last or average; empty: the average that the experiment asks for, else the best epoch."""
    origin: Origin | None = None
    options: tuple[str, ...] = ()
    """More options for `aedo train`."""
    device: str = "auto"
    threads: int | None = None
    """CPU threads of every process; None: torch's own choice."""

    def chosen(self, run: RunFolder) -> Checkpoint:
        """The checkpoint that is decoded."""
        if self.checkpoint:
            return choose(run, self.checkpoint)[-1]
        wanted = averages(run.experiment().train)
        return next(iter(_labelled(run.checkpoints(), wanted[0])), preferred(run)) if wanted else preferred(run)

    def decoding(self, run: RunFolder, search: Search) -> Decoding:
        return Decoding(run, self.chosen(run), beam=search.beam, kind=search.kind)


def check(jobs: Sequence[Job], work: Work, *, one_gpu_each: bool = False) -> None:
    """UserError, with all of them, where a job has too few GPUs, could not be recognised, or its run is another one."""
    problems = []
    for job in jobs:
        parts = {"decoder": job.experiment.decoder is not None, "ctc": bool(job.experiment.ctc.layers)}
        for search in work.searches:
            try:
                check_kind(search.kind or job.experiment.search.kind_for(**parts), **parts)
            except UserError as error:
                problems.append(f"{job.name}: --search {search.name}: {error}")
        if one_gpu_each and job.experiment.train.devices > 1:
            problems.append(f"{job.name}: needs {job.experiment.train.devices} GPUs; give --jobs 1")
        run = find_run(job, work.out)
        if run is not None and not _same_origin(run, work.origin):
            problems.append(f"{run.path}: this training began from something else than --from says; give another --out")
    refuse(problems)


def find_run(job: Job, out: Path) -> RunFolder | None:
    """The run folder of this job, finished or not.

    A finished run of the same name whose recorded tree reads as the same experiment counts too: fields that came with
    a later version, at values that change nothing, give it another hash.
    """
    own = RunFolder(job.path(out))
    if own.complete:
        return own
    return next((run for run in _namesakes(job, out) if is_trained(run)), None)


def is_trained(run: RunFolder) -> bool:
    """Whether the training went to its end: the last epoch is there, and every average that is made then."""
    train = run.experiment().train
    checkpoints = run.checkpoints()
    ended = any(c.epoch >= train.epochs for c in checkpoints if not c.averaged)
    return ended and all(_labelled(checkpoints, label) for label in averages(train))


def averages(train: TrainConfig) -> list[str]:
    """Labels of the averages made at the end of a training; first the one a tag asked for, which is to be judged."""
    labels = [] if train.ema is None else [MOVING]
    labels += [f"average-best{train.average_best}"] if train.average_best else []
    labels += [f"average-last{train.average_last}"] if train.average_last else []
    return labels + ([f"average-last{100 * train.average_fraction:.12g}pct"] if train.average_fraction else [])


def _labelled(checkpoints: Sequence[Checkpoint], label: str) -> list[Checkpoint]:
    """Those of this label, or with the name of a measure behind it."""
    return [c for c in checkpoints if c.averaged and (c.label == label or c.label.startswith(f"{label}-"))]


def results(run: RunFolder, work: Work) -> dict[tuple[str, str], dict[str, Any] | None]:
    """(set, search) -> its totals, with the `folder` they lie in; None where it is not decoded yet."""
    found: dict[tuple[str, str], dict[str, Any] | None] = {}
    for search in work.searches:
        decoding = work.decoding(run, search)
        for cuts in work.sets:
            totals = decoded(decoding, cuts)
            found[cuts.name, search.name] = None if totals is None else {**totals, "folder": decoding.folder.name}
    return found


def next_command(job: Job, work: Work) -> tuple[Step, list[str]] | None:
    """What to run next for a job; None where nothing is left to do."""
    run = find_run(job, work.out)
    if run is None or not is_trained(run):
        return "training", _train(job, work)
    for search in work.searches:
        if any(decoded(work.decoding(run, search), cuts) is None for cuts in work.sets):
            return "recognising", _recognise(run, work, search)
    return None


def _train(job: Job, work: Work) -> list[str]:
    seed = [] if job.seed is None else ["--seed", str(job.seed)]
    origin = work.origin
    begin = [] if origin is None else ["--from", f"{origin.run.path}@{origin.checkpoint.label}"]
    where = ["--data", str(work.data), "--out", str(work.out), "--device", work.device]
    return _aedo("train", job.spelled, *where, *seed, *begin, *work.options)


def _recognise(run: RunFolder, work: Work, search: Search) -> list[str]:
    sets = ",".join(cuts.name for cuts in work.sets)
    which = ["--data", str(work.data), "--sets", sets, "--checkpoint", work.chosen(run).label]
    return _aedo("recog", str(run.path), *which, "--device", work.device, *search.options)


def _aedo(*words: str) -> list[str]:
    return [sys.executable, "-m", "aedo", *words]


def _namesakes(job: Job, out: Path) -> Iterator[RunFolder]:
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        if not re.fullmatch(re.escape(job.name) + "-[0-9a-f]{8}", path.name):
            continue
        try:
            name, experiment = read_experiment(path / "experiment.json")
        except UserError:  # of a version too old or too new
            continue
        if name == job.name and experiment == job.experiment:
            yield RunFolder(path)


def _same_origin(run: RunFolder, origin: Origin | None) -> bool:
    begun = run.info.get("from")
    return (begun or {}).get("sha256") == (None if origin is None else origin.record()["sha256"])
