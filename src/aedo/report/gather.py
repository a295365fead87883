"""Everything a report needs from a run folder, read tolerantly: what is missing or broken becomes a notice."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aedo.errors import UserError
from aedo.run import RunFolder
from aedo.score.wer import Pair, Score, score

Leaves = dict[str, Any]
"""Dotted path -> value of the experiment's tree, lists kept whole."""

DATASETS = ("train", "dev", "devtrain")

_STEPS_BYTES = 20_000_000  # about a hundred thousand micro-steps, more than a curve can show


@dataclass(frozen=True)
class SetResult:
    """One set decoded with one checkpoint."""

    label: str
    """Folder of the results: the checkpoint's label, with the search where that is not the experiment's own."""
    name: str
    totals: dict[str, Any]
    """SET.json; recomputed from the utterances where that file is missing."""
    lines: dict[str, dict[str, Any]]
    """By utterance id: the line of SET.jsonl."""

    @property
    def checkpoint(self) -> str:
        """Label of the checkpoint."""
        return str(self.totals.get("checkpoint") or self.label.partition("+")[0])

    @cached_property
    def score(self) -> Score | None:
        """Aligned when first asked for: only the checkpoint shown in detail needs it.  None without reference words."""
        return _score(self.lines)

    @property
    def pairs(self) -> list[Pair]:
        """References and hypotheses, utterance by utterance."""
        return _pairs(self.lines)


@dataclass
class Run:
    """A run as far as it can be read.  `notices` tell the reader what could not."""

    folder: RunFolder
    name: str
    leaves: Leaves
    info: dict[str, Any]
    epochs: list[dict[str, Any]]
    """One a sub-epoch, in order; a sub-epoch that was repeated after a restart counts once, the last time."""
    steps: list[dict[str, Any]]
    results: list[SetResult]
    notices: list[str] = field(default_factory=list)

    @cached_property
    def sets(self) -> list[str]:
        return sorted({result.name for result in self.results})

    @cached_property
    def labels(self) -> list[str]:
        """Decoded checkpoints: sub-epochs in order, then averages."""
        return sorted({result.label for result in self.results}, key=lambda label: (not _is_epoch(label), label))

    @cached_property
    def main_label(self) -> str | None:
        """The checkpoint shown in detail: fewest errors on the dev sets, or on all sets where there is no dev set."""
        chosen = [r for r in self.results if r.name.startswith("dev")] or self.results
        if not chosen:
            return None
        names = {label: {r.name for r in chosen if r.label == label} for label in self.labels}
        widest = max(len(found) for found in names.values())

        def rate(label: str) -> float:
            totals = [r.totals for r in chosen if r.label == label]
            words = sum(t.get("words", 0) for t in totals)
            errors = sum(t.get(kind, 0) for t in totals for kind in ("substitutions", "deletions", "insertions"))
            return errors / words if words else float("inf")

        return min((label for label, found in names.items() if len(found) == widest), key=rate)

    def result(self, label: str | None, name: str) -> SetResult | None:
        return next((r for r in self.results if r.label == label and r.name == name), None)

    def series(self, dataset: str, term: str) -> list[tuple[float, float]]:
        """(sub-epoch, value) where the log holds a number."""
        values = ((epoch["epoch"], _values(epoch, dataset).get(term)) for epoch in self.epochs)
        return [(float(x), float(y)) for x, y in values if y is not None and _is_number(y)]

    def scalars(self, key: str) -> list[tuple[float, float]]:
        return [(float(e["epoch"]), float(e[key])) for e in self.epochs if _is_number(e.get(key))]

    @cached_property
    def terms(self) -> list[str]:
        """Losses first, the label error rate last."""
        found = {term for epoch in self.epochs for data in DATASETS for term in _values(epoch, data)}
        return sorted(found, key=lambda term: (term == "ler", term != "ce", _natural(term)))


def gather(path: Path, *, steps: bool = True, labels: Collection[str] | None = None) -> Run:
    """The run at `path`.  UserError where it is no run folder or its experiment.json is unreadable.

    Without `steps` the record of micro-steps is left alone, which is most of what there is to read; of the results,
    only those in the folders `labels` are read (None: all).
    """
    folder = RunFolder.open(path)
    notices: list[str] = []
    try:
        tree = json.loads((path / "experiment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path / 'experiment.json'}: unreadable ({error}); the run folder is damaged") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("name"), str):
        raise UserError(f"{path / 'experiment.json'}: holds no experiment name; the run folder is damaged")
    info: dict[str, Any] = {}
    try:
        info = folder.info
    except UserError as error:
        notices.append(str(error))
    epochs = {line["epoch"]: line for line in _lines(path / "log.jsonl", "epoch", int, notices)}
    if not epochs:
        notices.append(f"{path / 'log.jsonl'}: no finished sub-epoch yet, so there are no learning curves")
    return Run(
        folder,
        tree["name"],
        flatten(tree.get("experiment") or {}),
        info if isinstance(info, dict) else {},
        [epochs[number] for number in sorted(epochs)],
        _lines(path / "steps.jsonl", "micro_step", int, notices, _STEPS_BYTES) if steps else [],
        list(_results(folder, labels, notices)),
        notices,
    )


def flatten(tree: Any, prefix: str = "") -> Leaves:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    leaves: Leaves = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def _results(folder: RunFolder, labels: Collection[str] | None, notices: list[str]) -> Iterator[SetResult]:
    if not folder.recog_folder.is_dir():
        notices.append(f"{folder.recog_folder}: nothing recognised yet; run aedo recog {folder.path}")
        return
    found = False
    for labelled in sorted(p for p in folder.recog_folder.iterdir() if p.is_dir()):
        if labels is not None and labelled.name not in labels:
            continue
        for name in sorted({p.name.rsplit(".", 1)[0] for p in labelled.glob("*.json*")}):
            result = _result(labelled, name, notices)
            if result is not None:
                found = True
                yield result
    if not found:
        notices.append(f"{folder.recog_folder}: holds no results yet; run aedo recog {folder.path}")


def _result(labelled: Path, name: str, notices: list[str]) -> SetResult | None:
    lines: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(_lines(labelled / f"{name}.jsonl", "ref", str, notices), start=1):
        lines[str(line.get("id", f"line {number}"))] = line
    problems = [i for i, line in lines.items() if line.get("problem")]
    if problems:
        reason = lines[problems[0]]["problem"]
        notices.append(
            f"{labelled / name}.jsonl: {len(problems)} without usable audio count as deleted, {problems[0]}: {reason}"
        )
    totals = _totals(labelled / f"{name}.json", notices)
    if totals is None:
        scored = _score(lines)
        if scored is None:
            notices.append(f"{labelled / name}: no totals and no utterances to compute them from; run aedo recog again")
            return None
        totals = scored.as_json()
    return SetResult(labelled.name, name, totals, lines)


def _pairs(lines: dict[str, dict[str, Any]]) -> list[Pair]:
    return [Pair(i, _text(line, "speaker"), _text(line, "ref"), _text(line, "hyp")) for i, line in lines.items()]


def _score(lines: dict[str, dict[str, Any]]) -> Score | None:
    try:
        return score(_pairs(lines))
    except UserError:  # no words at all
        return None


def _totals(path: Path, notices: list[str]) -> dict[str, Any] | None:
    try:
        totals = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notices.append(f"{path}: missing; totals are computed from the utterances")
        return None
    except (OSError, ValueError) as error:
        notices.append(f"{path}: unreadable ({error}); totals are computed from the utterances")
        return None
    if not isinstance(totals, dict) or not _is_number(totals.get("wer")):
        notices.append(f"{path}: holds no word error rate; totals are computed from the utterances")
        return None
    return totals


def _lines(path: Path, key: str, kind: type, notices: list[str], most_bytes: int | None = None) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file whose `key` is of this kind; one notice tells where broken lines begin.

    Of a file larger than `most_bytes` only every second, third ... line is read.
    """
    good, broken = [], []
    try:
        stride = 1 + path.stat().st_size // most_bytes if most_bytes else 1
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                if (number - 1) % stride or not line.strip():
                    continue
                value = _parsed(line)
                if isinstance(value, dict) and isinstance(value.get(key), kind):
                    good.append(value)
                elif line.endswith("\n"):  # a last line without its end is being written right now
                    broken.append(number)
    except FileNotFoundError:
        return []
    except OSError as error:
        notices.append(f"{path}: unreadable ({error.strerror})")
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        notices.append(f"{path}:{broken[0]}: not a valid line{more}; left out of this page")
    return good


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _values(epoch: dict[str, Any], dataset: str) -> dict[str, Any]:
    found = epoch.get(dataset)
    return found if isinstance(found, dict) else {}


def _text(line: dict[str, Any], key: str) -> str:
    value = line.get(key)
    return "" if value is None else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _is_epoch(label: str) -> bool:
    return label.startswith("epoch-")


def _natural(term: str) -> tuple[str, int]:
    name, _, number = term.rpartition("_")
    return (name, int(number)) if number.isdigit() else (term, 0)
