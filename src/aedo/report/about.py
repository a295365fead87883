"""What was run: the name explained, where and how it ran, on which data."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aedo.errors import UserError
from aedo.report.gather import Run

Facts = list[tuple[str, str]]

_FIRST = ("time", "command", "folder", "git", "data", "vocabulary", "parameters", "seed", "machine")
_LAST = ("versions",)


@dataclass(frozen=True)
class Part:
    """A base or a tag of the name."""

    text: str
    kind: str
    explained: str


@dataclass(frozen=True)
class Split:
    name: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class About:
    parts: list[Part]
    no_parts: str
    """Why the name is not explained; empty where it is."""
    summary: Facts
    """How the training went."""
    facts: Facts
    """run.json, flat."""
    splits: list[Split]
    data: Facts
    no_data: str
    """Why there is no data card; empty where there is."""
    settings: Facts
    """The whole tree."""


def about(run: Run) -> About:
    parts, no_parts = _explain(run.name)
    splits, data, no_data = _data_card(run)
    settings = [(path, _plain(value)) for path, value in sorted(run.leaves.items())]
    return About(parts, no_parts, _summary(run), _facts(run.info), splits, data, no_data, settings)


def _explain(name: str) -> tuple[list[Part], str]:
    from aedo.recipes.bases import BASES
    from aedo.recipes.parse import parse

    try:
        base, tags = parse(name)
    except UserError as error:
        return [], str(error)
    parts = [Part(base, "base", _prose(BASES[base].__doc__ or ""))]
    return parts + [Part(tag.text, "tag", _prose(tag.tag.doc)) for tag in tags], ""


def _summary(run: Run) -> Facts:
    if not run.epochs:
        return []
    last = run.epochs[-1]
    asked = run.leaves.get("train.epochs")
    done = f"{last['epoch']:,}" + (f" of {asked:,}" if isinstance(asked, int) else "")
    seconds, audio = _sum(run, "seconds"), _sum(run, "audio_seconds")
    facts = [("sub-epochs", done)]
    facts += [
        (name, f"{last[key]:,}")
        for name, key in (("micro-steps", "micro_step"), ("updates", "update"))
        if _int(last, key)
    ]
    if seconds:
        facts.append(("training time", duration(seconds)))
    if seconds and audio:
        facts.append(("audio seen", f"{duration(audio)}, {audio / seconds:,.0f} s a second"))
    padding = [e["padding"] for e in run.epochs if isinstance(e.get("padding"), (int, float))]
    if padding:
        facts.append(("padding", f"{sum(padding) / len(padding):.1%} of the samples"))
    if seconds and any("wait" in e for e in run.epochs):
        facts.append(("waiting for data", f"{_sum(run, 'wait') / seconds:.1%} of the time"))
    facts.append(("skipped micro-steps", f"{_sum(run, 'skipped_steps'):,.0f}"))
    facts.append(("unusable utterances met", f"{_sum(run, 'bad_utterances'):,.0f}"))
    return facts


def _facts(info: dict[str, Any]) -> Facts:
    """run.json in a readable order; of several starts, their number and times."""
    facts = dict(info)
    starts = facts.pop("starts", None)
    if isinstance(facts.get("command"), list):
        facts["command"] = shlex.join(_short(str(word)) for word in facts["command"])
    git = facts.get("git")
    if isinstance(git, dict) and "commit" in git:
        facts["git"] = f"{str(git['commit'])[:12]}, {'with changes' if git.get('changed') else 'unchanged'}"
    elif "git" in facts and git is None:
        facts["git"] = "not a checkout"
    if isinstance(starts, list) and len(starts) > 1:
        times = [str(start["time"]) for start in starts if isinstance(start, dict) and "time" in start]
        facts["resumed"] = f"{len(starts) - 1} ×" + (f", last {times[-1]}" if times else "")

    def place(key: str) -> int:
        return _FIRST.index(key) if key in _FIRST else len(_FIRST) + (key in _LAST)

    return [(key.replace("_", " "), _plain(facts[key])) for key in sorted(facts, key=place)]


def _data_card(run: Run) -> tuple[list[Split], Facts, str]:
    folder = run.info.get("data")
    if isinstance(folder, dict):
        folder = folder.get("folder") or folder.get("path")
    if not isinstance(folder, str):
        return [], [], "run.json names no data folder"
    path = Path(folder) / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        splits = [Split(str(name), dict(numbers)) for name, numbers in dict(card["splits"]).items()]
    except OSError as error:
        return [], [], f"{path}: {error.strerror or error}"
    except (ValueError, KeyError, TypeError) as error:
        return [], [], f"{path}: not a data card ({error!r})"
    facts = [
        (key.replace("_", " "), _plain(card[key])) for key in ("source", "sample_rate", "normalize") if key in card
    ]
    facts += [("note", str(note)) for note in card.get("notes") or []]
    characters = card.get("characters")
    if isinstance(characters, dict):
        ordered = sorted(characters, key=lambda c: (-characters[c], c))
        facts.append((f"characters ({len(ordered)})", " ".join("␣" if c == " " else c for c in ordered[:120])))
    refused = [group for group in card.get("refused") or [] if isinstance(group, dict)]
    facts += [("refused", f"{group.get('count')} × {group.get('reason')}") for group in refused] or [
        ("refused", "nothing")
    ]
    return splits, facts, ""


def duration(seconds: float) -> str:
    """7265 -> 2 h 1 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _sum(run: Run, key: str) -> float:
    """Over the sub-epochs."""
    values = (epoch.get(key) or 0 for epoch in run.epochs)
    return float(sum(v for v in values if isinstance(v, (int, float))))


def _short(word: str) -> str:
    """The program without its folder."""
    return "aedo" if Path(word).name == "aedo" else word


def _int(record: dict[str, Any], key: str) -> bool:
    return isinstance(record.get(key), int)


def _prose(doc: str) -> str:
    return " ".join(doc.split())


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
