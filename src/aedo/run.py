"""The run folder: what a training leaves on disk, and how the other verbs find it.

NAME-HASH/
  experiment.json      name and whole tree; rebuilds everything
  run.json             command, git state, machine, versions, data folder, number of labels
  tokenizer/           the tokenizer, self-contained
  log.jsonl            one line per sub-epoch
  steps.jsonl          one line per logged micro-step
  events.jsonl         steps skipped and utterances left out, each with its reason
  tensorboard/
  checkpoints/LABEL/   model.safetensors, checkpoint.json, and state.pt where training can continue
                       (of further devices: state-rank1.pt, ...)
  recog/LABEL/         SET.jsonl (one line per utterance) and SET.json (totals)
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.files import explained, write_text

if TYPE_CHECKING:
    from aedo.data.text import Tokenizer
    from aedo.model.aed import AED


@dataclass(frozen=True)
class Checkpoint:
    """One folder of `checkpoints/`: an epoch, an average, or (label `step-...`) a point inside an epoch."""

    folder: Path
    label: str
    epoch: int
    """Finished sub-epochs; of an average, the last one in it."""
    micro_step: int
    update: int
    scores: dict[str, float] = field(default_factory=dict)
    """dev_ce, dev_ler, dev_ctc_4, ...; empty for averages."""
    averaged: list[str] = field(default_factory=list)
    """Labels of the checkpoints an average was made of."""

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """The checkpoint in `folder`; UserError where its description is missing or broken."""
        content = _read_json(folder / "checkpoint.json")
        try:
            return cls(folder=folder, **content)
        except TypeError as error:
            raise UserError(f"{folder / 'checkpoint.json'}: not a description of a checkpoint ({error})") from None

    def describe(self) -> str:
        """The contents of checkpoint.json."""
        content = asdict(self)
        del content["folder"]
        return json.dumps(content, indent=1) + "\n"

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def state(self) -> Path:
        return self.folder / "state.pt"

    def state_of(self, rank: int) -> Path:
        """The state of one of the devices of a training; that of rank 0 is `state`."""
        return self.folder / f"state-rank{rank}.pt" if rank else self.state


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`; UserError where there is none."""
        if not (path / "experiment.json").is_file():
            raise UserError(f"{path}: not a run folder (no experiment.json); give the folder that `aedo train` printed")
        return cls(path)

    @staticmethod
    def place(out: Path, name: str, experiment: Experiment) -> Path:
        """Where the run of this experiment lives: OUT/NAME-HASH."""
        return out / f"{name}-{experiment.digest()}"

    @property
    def complete(self) -> bool:
        """Whether the folder was set up to the end (experiment.json is written last)."""
        return (self.path / "experiment.json").is_file()

    def create(self, name: str, experiment: Experiment, info: dict[str, Any]) -> None:
        """Write run.json and experiment.json; the tokenizer is there already."""
        self.checkpoint_folder.mkdir(exist_ok=True)
        self.write_info(info)
        tree = {"name": name, "experiment": experiment.model_dump(mode="json")}
        write_text(self.path / "experiment.json", json.dumps(tree, indent=1) + "\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against a second training; it is free again when the process ends, however it ends.

        A record lock, not flock(): workers forked by the loader must not keep it when the training itself was killed.
        """
        with explained(self.path, "use this run folder"):
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / "lock", "a+", encoding="utf-8")  # noqa: SIM115 (closing it would free the lock)
        try:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):  # the standard allows both
                file.seek(0)
                raise UserError(
                    f"{self.path}: another training is running here ({file.read().strip() or 'unknown process'}); "
                    "wait for it, stop it, or give another --out"
                ) from None
            except OSError as error:
                raise UserError(
                    f"{self.path}: cannot be locked ({error.strerror}); use a disk that knows locks"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield
        finally:
            file.close()

    @property
    def name(self) -> str:
        """The experiment's name, as it was typed."""
        return str(self._read("experiment.json")["name"])

    @property
    def info(self) -> dict[str, Any]:
        """Contents of run.json."""
        return self._read("run.json")

    def write_info(self, info: dict[str, Any]) -> None:
        write_text(self.path / "run.json", json.dumps(info, indent=1) + "\n")

    @property
    def vocabulary(self) -> int:
        """Labels including EOS, without blank."""
        return int(self.info["vocabulary"])

    @property
    def tokenizer_folder(self) -> Path:
        return self.path / "tokenizer"

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoints"

    @property
    def recog_folder(self) -> Path:
        return self.path / "recog"

    def experiment(self) -> Experiment:
        return read_experiment(self.path / "experiment.json")[1]

    def tokenizer(self) -> Tokenizer:
        from aedo.data.text import load_tokenizer

        return load_tokenizer(self.tokenizer_folder)

    def epochs(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl, oldest first; a line cut off by a crash is left out."""
        return read_jsonl(self.path / "log.jsonl")

    def checkpoints(self) -> list[Checkpoint]:
        """Epochs by number, then averages by name."""
        found = [checkpoint for checkpoint in self._all_checkpoints() if not checkpoint.label.startswith("step-")]
        return sorted(found, key=lambda c: (bool(c.averaged), c.label if c.averaged else "", c.epoch))

    def resumable(self) -> Checkpoint | None:
        """The latest point from which training can continue."""
        found = [checkpoint for checkpoint in self._all_checkpoints() if checkpoint.state.is_file()]
        return max(found, key=lambda c: (c.micro_step, c.epoch), default=None)

    def checkpoint(self, label: str) -> Checkpoint:
        """The checkpoint of that label; `last` is the latest epoch, `best` the one with the lowest dev_ce.

        A model without decoder has no dev_ce: then its first dev score counts.  UserError names the labels there are.
        """
        found = self.checkpoints()
        epochs = [checkpoint for checkpoint in found if not checkpoint.averaged]
        if label == "last" and epochs:
            return epochs[-1]
        if label == "best" and epochs:
            scored = [checkpoint for checkpoint in epochs if checkpoint.scores]
            if scored:
                key = self.best_key()
                return min(scored, key=lambda c: (c.scores.get(key, float("inf")), c.epoch))
        for checkpoint in found:
            if checkpoint.label == label:
                return checkpoint
        there = ", ".join(checkpoint.label for checkpoint in found) or "none yet"
        raise UserError(f"{self.checkpoint_folder}: no checkpoint {label!r}; there are: {there}")

    def best_key(self) -> str:
        """What makes a checkpoint the best: dev_ce, or the first dev score of a model without decoder."""
        keys = {key for checkpoint in self.checkpoints() for key in checkpoint.scores}
        return "dev_ce" if "dev_ce" in keys or not keys else min(keys)

    def load_model(self, label: str, device: str | torch.device = "cpu") -> AED:
        """The model with the weights of a checkpoint, in evaluation mode."""
        checkpoint = self.checkpoint(label)
        model = self.experiment().build_model(self.vocabulary)
        model.load_state_dict(load_weights(checkpoint.weights, model.state_dict()))
        return model.to(device).eval()

    def _all_checkpoints(self) -> Iterator[Checkpoint]:
        if self.checkpoint_folder.is_dir():
            for path in sorted(self.checkpoint_folder.iterdir()):
                if not path.name.startswith(".") and (path / "checkpoint.json").is_file():
                    yield Checkpoint.read(path)

    def _read(self, name: str) -> dict[str, Any]:
        return _read_json(self.path / name)


def read_experiment(path: Path) -> tuple[str, Experiment]:
    """Name and tree of an experiment.json; UserError where it is none."""
    content = _read_json(path)
    try:
        name, experiment = str(content["name"]), Experiment.model_validate(content["experiment"])
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path}: not an experiment of this version of aedo ({error})") from None
    if not name or name != Path(name).name or name.startswith("."):
        raise UserError(f"{path}: the name {name!r} cannot be that of a folder")
    return name, experiment


def load_weights(path: Path, expected: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.  UserError where names and shapes are not as `expected` (None: any)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; the checkpoint is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error}); choose another checkpoint") from None
    if expected is not None:
        check_weights(path, tensors, expected)
    return tensors


def check_weights(path: Path, tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """UserError where names and shapes of the weights that were read from `path` are not as `expected`."""
    problems = [f"missing {name}" for name in expected if name not in tensors]
    problems += [f"unknown {name}" for name in tensors if name not in expected]
    problems += [
        f"{name} is {list(tensors[name].shape)}, not {list(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"{path}: not weights of this experiment: {'; '.join(problems[:5])}{more}")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a JSON-lines file; nothing where the file is missing."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; the run folder is incomplete") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    return content
