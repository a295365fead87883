"""What a language model is trained and measured on, and the recogniser it is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aedo.data.splits import is_train
from aedo.data.text import Tokenizer, load_tokenizer, normalizer
from aedo.errors import UserError
from aedo.files import sha256
from aedo.lm.sentences import HELD_OUT, Line, Sentences, lines_of_data, lines_of_files, spelled
from aedo.run import RunFolder


@dataclass(frozen=True)
class Recogniser:
    """What a language model has to agree with."""

    tokenizer: Tokenizer
    folder: Path
    """Where the tokenizer lies."""
    normalize: str
    """Steps that its transcripts went through."""
    known: bool
    """Whether the prepared data said so; else they are taken as they are."""

    @classmethod
    def of_run(cls, path: Path) -> Recogniser:
        """UserError where `path` is no run."""
        run = RunFolder.open(path)
        data = run.info.get("data")
        steps = None if data is None else _normalize_of(Path(data))
        return cls(run.tokenizer(), run.tokenizer_folder, steps or "none", steps is not None)

    @classmethod
    def of_tokenizer(cls, path: Path) -> Recogniser:
        """From the folder of a tokenizer, its tokenizer.json, or a run."""
        folder = path.parent if path.name == "tokenizer.json" else path
        if not (folder / "tokenizer.json").is_file() and (folder / "tokenizer" / "tokenizer.json").is_file():
            folder = folder / "tokenizer"
        return cls(load_tokenizer(folder), folder, "none", False)


@dataclass(frozen=True)
class Texts:
    train: Sentences
    held_out: Sentences
    about: dict[str, Any]
    """For lm.json: where they come from."""


def gather(
    recogniser: Recogniser,
    files: Sequence[Path],
    data: Path | None,
    dev: Path | None,
    *,
    normalize: str,
    leave_out: bool,
    progress: Callable[[int], None] = lambda sentences: None,
) -> Texts:
    """Everything to train on, and what to measure on: `dev`, else the prepared folder's dev split, else some of it.

    normalize: steps for all of it, which change nothing of transcripts that have been through them.  UserError: see
    `spelled`.
    """
    steps = normalizer(normalize)

    def labels(lines: Iterable[Line]) -> Sentences:
        return spelled(lines, recogniser.tokenizer, steps, leave_out=leave_out, progress=progress)

    splits = [] if data is None else _splits(data)
    train = labels(training_lines(files, data))
    about = {"files": [_named(path) for path in files], "data": None if data is None else str(data.absolute())}
    if dev is not None:
        return Texts(train, labels(lines_of_files([dev])), {**about, "held_out": _named(dev)})
    if data is not None and "dev" in splits:
        return Texts(train, labels(lines_of_data(data, "dev")), {**about, "held_out": f"{data.absolute()}, split dev"})
    train, held_out = train.held_out()
    return Texts(train, held_out, {**about, "held_out": f"at most one of {HELD_OUT} sentences of the text"})


def training_lines(files: Sequence[Path], data: Path | None) -> Iterator[Line]:
    """Of all files, then of the training splits of the prepared folder."""
    yield from lines_of_files(files)
    if data is not None:
        for split in filter(is_train, _splits(data)):
            yield from lines_of_data(data, split)


def _splits(data: Path) -> list[str]:
    """UserError where the folder holds no training data."""
    found = sorted(path.stem for path in data.glob("*.jsonl") if path.stem != "refused") if data.is_dir() else []
    if not any(is_train(split) for split in found):
        raise UserError(f"{data}: no prepared training data (no train.jsonl); give a folder that aedo prepare wrote")
    return found


def _normalize_of(data: Path) -> str | None:
    """The steps that a prepared folder's card names; None where there is none to read."""
    try:
        return str(json.loads((data / "card.json").read_text(encoding="utf-8"))["normalize"])
    except (OSError, ValueError, KeyError):
        return None


def _named(path: Path) -> dict[str, str]:
    return {"file": str(path.absolute()), "sha256": sha256(path)}
