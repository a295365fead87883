"""The run's records: log.jsonl, steps.jsonl, events.jsonl and TensorBoard.  Resuming repeats no line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from aedo.files import explained, write_text
from aedo.run import RunFolder, read_jsonl
from aedo.train.position import Position


class RunLog:
    """Appends to the records of a run; lines from beyond `position` (of a killed training) are taken back first."""

    def __init__(self, run: RunFolder, position: Position) -> None:
        # Without this entry TensorBoard imports all of TensorFlow where it is installed, to write plain local files.
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
        from torch.utils.tensorboard import SummaryWriter

        self.run = run
        with explained(run.path, "write the log"):
            _keep_lines(run.path / "log.jsonl", "epoch", position.epoch)
            _keep_lines(run.path / "steps.jsonl", "micro_step", position.micro_step)
            _keep_lines(run.path / "events.jsonl", "micro_step", position.micro_step)
            self._steps = open(run.path / "steps.jsonl", "a", encoding="utf-8")  # noqa: SIM115 (closed by close())
            self._events = open(run.path / "events.jsonl", "a", encoding="utf-8")  # noqa: SIM115
            self._board = SummaryWriter(str(run.path / "tensorboard"), purge_step=position.micro_step)

    def step(self, record: dict[str, Any]) -> None:
        """A logged update: steps.jsonl and TensorBoard."""
        with explained(self.run.path, "write the log"):
            _append(self._steps, record)
            for name, value in record.items():
                if name not in ("micro_step", "epoch", "update"):
                    self._board.add_scalar(f"step/{name}", value, record["micro_step"])

    def event(self, micro_step: int, kind: str, **facts: Any) -> None:
        """Something that should not go unseen: a skipped step, an utterance left out."""
        with explained(self.run.path, "write the log"):
            _append(self._events, {"micro_step": micro_step, "kind": kind, **facts})

    def epoch(self, record: dict[str, Any]) -> None:
        """A finished sub-epoch; on the disk when this returns, for the checkpoint that follows relies on it."""
        with explained(self.run.path, "write the log"):
            with open(self.run.path / "log.jsonl", "a", encoding="utf-8") as file:
                _append(file, record)
                os.fsync(file.fileno())
            at = record["micro_step"] - 1
            for name, value in record.items():
                if isinstance(value, dict):
                    for term, number in value.items():
                        self._board.add_scalar(f"{name}/{term}", number, at)
                elif isinstance(value, (int, float)) and name != "micro_step":
                    self._board.add_scalar(f"epoch/{name}", value, at)

    def close(self) -> None:
        self._steps.close()
        self._events.close()
        self._board.close()


class SilentLog:
    """In the place of a RunLog, for ranks whose records rank 0 writes along with its own."""

    def step(self, record: dict[str, Any]) -> None: ...

    def event(self, micro_step: int, kind: str, **facts: Any) -> None: ...

    def epoch(self, record: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def _append(file: Any, record: dict[str, Any]) -> None:
    file.write(json.dumps(record, ensure_ascii=False) + "\n")
    file.flush()


def _keep_lines(path: Path, key: str, below: int) -> None:
    """Rewrite a JSON-lines file with those of its complete lines whose `key` is below a number."""
    if path.exists():
        kept = [record for record in read_jsonl(path) if record[key] < below]
        write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept))
