"""The run folder: what a training leaves on disk, and how the other verbs find it.

    NAME-HASH/
      experiment.json      name and whole tree; rebuilds everything
      run.json             command, git state, machine, versions, data folder, number of labels
      tokenizer/           the tokenizer, self-contained
      log.jsonl            one line per sub-epoch
      steps.jsonl          one line per logged micro-step
      tensorboard/
      checkpoints/LABEL/   model.safetensors, checkpoint.json, and state.pt where training can continue
      recog/LABEL/         SET.jsonl (one line per utterance) and SET.json (totals)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aedo.errors import UserError
from aedo.experiment import Experiment


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`; UserError where there is none."""
        if not (path / "experiment.json").is_file():
            raise UserError(f"{path}: not a run folder (no experiment.json); give the folder that `aedo train` printed")
        return cls(path)

    @property
    def name(self) -> str:
        """The experiment's name, as it was typed."""
        return str(self._read("experiment.json")["name"])

    @property
    def info(self) -> dict[str, Any]:
        """Contents of run.json."""
        return self._read("run.json")

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
        return Experiment.model_validate(self._read("experiment.json")["experiment"])

    def epochs(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl, oldest first; a line cut off by a crash is left out."""
        return read_jsonl(self.path / "log.jsonl")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{self.path / name}: missing; the run folder is incomplete") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{self.path / name}: not valid JSON ({error})") from None
        return content


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a JSON-lines file; nothing where the file is missing."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
