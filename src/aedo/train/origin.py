"""Training that starts from the weights and the tokenizer of another run; everything else starts anew."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.files import new_folder, sha256
from aedo.model.aed import AED
from aedo.run import Checkpoint, RunFolder, check_weights, load_weights

_HEADS = "ctc_heads."
_MODEL = ("features", "frontend", "encoder", "decoder")


@dataclass(frozen=True)
class Origin:
    """A checkpoint of another run."""

    run: RunFolder
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, text: str) -> Origin:
        """RUN (its last checkpoint) or RUN@LABEL; UserError where there is none."""
        path, at, label = text.rpartition("@")
        if not at or Path(text).is_dir():
            path, label = text, "last"
        run = RunFolder.open(Path(path))
        return cls(run, run.checkpoint(label))

    def adopt(self, experiment: Experiment) -> Experiment:
        """The experiment with the tokenizer that the weights belong to, and their learning rate where it is wanted."""
        experiment = experiment.with_("tokenizer", self.run.experiment().tokenizer)
        finetune = experiment.train.finetune
        if finetune is None or finetune.start != "origin":
            return experiment
        return experiment.with_("train.finetune.start", self.learning_rate())

    def learning_rate(self) -> float:
        """The last one behind the weights; UserError where the run's log does not tell it."""
        rates = {line["epoch"]: float(line["lr"]) for line in self.run.epochs()}
        rate = rates.get(self.checkpoint.epoch, 0.0)
        if rate <= 0:
            raise UserError(
                f"{self.run.path / 'log.jsonl'}: tells no learning rate of sub-epoch {self.checkpoint.epoch}, with "
                "which ftfromlast would begin; leave ftfromlast out"
            )
        return rate

    def copy_tokenizer(self, folder: Path) -> None:
        with new_folder(folder) as new:
            shutil.copytree(self.run.tokenizer_folder, new, dirs_exist_ok=True)

    def record(self) -> dict[str, Any]:
        """For run.json: a moved folder stays the same origin."""
        return {
            "run": str(self.run.path.absolute()),
            "checkpoint": self.checkpoint.label,
            "sha256": sha256(self.checkpoint.weights),
        }

    def load_into(self, model: AED) -> list[str]:
        """Copy the weights; what there is to say about it, one line each.

        CTC heads may come and go: those the origin lacks start fresh, those the model lacks are left behind.  UserError
        where anything else differs.
        """
        fresh = model.state_dict()
        weights = load_weights(self.checkpoint.weights, None)
        behind = [name for name in weights if name.startswith(_HEADS) and name not in fresh]
        added = [name for name in fresh if name.startswith(_HEADS) and name not in weights]
        kept = {name: value for name, value in weights.items() if name not in behind}
        check_weights(self.checkpoint.weights, {**kept, **{name: fresh[name] for name in added}}, fresh)
        model.load_state_dict({**fresh, **kept})
        lines = [f"weights from {self.checkpoint.folder}"]
        lines += [f"start fresh: {', '.join(added)}"] if added else []
        lines += [f"left behind: {', '.join(behind)}"] if behind else []
        return lines

    def departures(self, experiment: Experiment) -> list[str]:
        """Fields of the model in which the experiment departs from the origin's, one line each."""
        before = self.run.experiment()
        return [
            f"{part}.{path}: {old} in the origin, {new} here"
            for part in _MODEL
            for path, old, new in _differences(_tree(before, part), _tree(experiment, part))
        ]


def adopted(name: str, experiment: Experiment, origin: Origin | None) -> Experiment:
    """The experiment as it is trained, with what an origin brings along; UserError where fine-tuning has none."""
    if origin is not None:
        return origin.adopt(experiment)
    if experiment.train.finetune is not None:
        raise UserError(
            f"{name}: fine-tuning begins from the weights of another run: give --from RUN (its last checkpoint) or "
            "--from RUN@LABEL, or leave the finetune tag out"
        )
    return experiment


def _tree(experiment: Experiment, part: str) -> dict[str, Any]:
    child = getattr(experiment, part)
    return {} if child is None else child.model_dump(mode="json")


def _differences(left: dict[str, Any], right: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys([*left, *right]):
        old, new = left.get(name), right.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append((prefix + name, old, new))
    return found
