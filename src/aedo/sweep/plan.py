"""What a sweep consists of: names and seeds become jobs, all of them resolved before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.recipes.names import resolve
from aedo.run import RunFolder, read_experiment
from aedo.train.origin import Origin, adopted


@dataclass(frozen=True)
class Job:
    """One experiment with one seed."""

    name: str
    seed: int | None
    """None: the experiment's own."""
    experiment: Experiment
    """As it is trained: with the seed, and with the tokenizer of the run it begins from."""
    spelled: str
    """What `aedo train` is given: the name, or an experiment.json."""

    @property
    def title(self) -> str:
        return f"{self.name} seed {self.experiment.train.seed}"

    def path(self, out: Path) -> Path:
        """The run folder that `aedo train` makes for it."""
        return RunFolder.place(out, self.name, self.experiment)


def alternatives(base: str, groups: Sequence[str], *, combined: bool = False) -> list[str]:
    """Names made of a base and tags.  A group is a tag, or tags joined by commas of which a name has at most one.

    The base alone, then the base with each tag alone; `combined`: with every choice of at most one tag a group.
    """
    choices = [[tag.strip().strip("-") for tag in group.split(",") if tag.strip()] for group in groups]
    if not combined:
        return _unique([base, *(f"{base}-{tag}" for group in choices for tag in group)])
    return _unique(["-".join([base, *filter(None, tags)]) for tags in product(*(["", *group] for group in choices))])


def read_names(path: Path) -> list[str]:
    """One name a line; what follows a # is a comment.  UserError where the file is unreadable or holds none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a text file with one name a line") from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise UserError(f"{path}: holds no name; write one a line")
    return names


def parse_seeds(text: str) -> tuple[int | None, ...]:
    """ "1,2,5" -> (1, 2, 5); empty: each experiment's own."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if any(not word.isdecimal() for word in words):
        raise UserError(f"--seeds {text}: not whole numbers joined by commas, such as 1,2")
    return tuple(dict.fromkeys(int(word) for word in words)) or (None,)


def plan(names: Sequence[str], seeds: Sequence[int | None], origin: Origin | None = None) -> list[Job]:
    """All names with the first seed, then all with the second, ...: a sweep that is cut short has compared something.

    UserError with every name that is no experiment, and with those that mean the same one.
    """
    problems: list[str] = []
    found: list[Job] = []
    for spelled in _unique(names):
        try:
            name, experiment = _read(spelled)
            found.append(Job(name, None, adopted(name, experiment, origin), spelled))
        except UserError as error:
            problems.append(str(error))
    refuse([*problems, *_doubles(found)])
    return [
        job if seed is None else replace(job, seed=seed, experiment=job.experiment.with_("train.seed", seed))
        for seed in seeds
        for job in found
    ]


def _read(spelled: str) -> tuple[str, Experiment]:
    return read_experiment(Path(spelled)) if spelled.endswith(".json") else (spelled, resolve(spelled))


def refuse(problems: Sequence[str]) -> None:
    """UserError that tells all problems, where there are any."""
    if problems:
        raise UserError("\n".join(["nothing was started:", *(f"  {one}" for one in _unique(problems))]))


def _doubles(jobs: Sequence[Job]) -> Iterator[str]:
    known: dict[str, str] = {}
    for job in jobs:
        first = known.setdefault(job.experiment.digest(), job.spelled)
        if first != job.spelled:
            yield f"{first} and {job.spelled} are the same experiment; leave one out"


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
