"""From a corpus listing to a prepared data folder: checked utterances, a data card, and a list of what was refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aedo.data.card import DataCard, Utterance
from aedo.data.check import Task, available_cores, check_all
from aedo.data.corpora.listing import Item, Listing, Refused
from aedo.data.splits import hold_out_fraction, hold_out_speakers
from aedo.data.text import normalizer
from aedo.errors import UserError
from aedo.files import explained, write_text


@dataclass(frozen=True)
class PrepareOptions:
    sample_rate: int = 16000
    resample: bool = False
    """Convert audio of another rate or with several channels to mono FLAC in OUT/audio; without it, refuse it."""
    normalize: str = "none"
    """Steps of aedo.data.text.NORMALIZERS, separated by commas."""
    dev_speakers: str | None = None
    """Training speakers held out as split `dev`: how many, or which (see aedo.data.splits)."""
    dev_fraction: float | None = None
    """Share of the training utterances held out as split `dev`."""
    max_refused: float = 0.5
    """Largest share of refused utterances; above it nothing is prepared."""
    jobs: int = 0
    """Worker processes; 0: one a core."""


def prepare(
    listing: Listing,
    out: Path,
    options: PrepareOptions = PrepareOptions(),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DataCard:
    """Check every utterance, write OUT/SPLIT.jsonl (lhotse cuts), card.json, card.md and refused.jsonl.

    Nothing bad is fatal by itself: it is refused with a reason.  `progress(done, total)` is called as files are
    checked.  Raises UserError for impossible options, an unwritable folder, or more refused than allowed.
    """
    normalize = normalizer(options.normalize)
    if not listing.items and not listing.refused:
        raise UserError(f"{listing.source}: no utterances found")
    items = _hold_out(listing.items, options)
    splits = {item.split for item in items}
    _check_folder(out, splits)
    refused = list(listing.refused)
    items = _with_usable_text(items, normalize, refused)
    utterances = _with_usable_audio(items, out, options, progress, refused)
    refused = [Refused(*(field.encode("utf-8", "replace").decode() for field in r)) for r in refused]
    _write_refused(out, refused)
    _check_refused(out, len(utterances), refused, options.max_refused)
    empty = sorted(splits - {u.split for u in utterances})
    notes = [f"split {split} is empty: all of it is refused" for split in empty]
    listing = replace(listing, notes=[*listing.notes, *notes])
    card = DataCard.of(listing, utterances, refused, options.normalize, options.sample_rate)
    with explained(out, "write the prepared data there"):
        for split in card.splits:
            lines = (_cut_line(u, options.sample_rate) for u in utterances if u.split == split)
            write_text(out / f"{split}.jsonl", "".join(lines))
        for split in empty:
            (out / f"{split}.jsonl").unlink(missing_ok=True)
        write_text(out / "card.json", json.dumps(card.to_json(), ensure_ascii=False, indent=1) + "\n")
        write_text(out / "card.md", card.to_markdown())
    return card


def _hold_out(items: Sequence[Item], options: PrepareOptions) -> list[Item]:
    if options.dev_speakers is not None and options.dev_fraction is not None:
        raise UserError("--dev-speakers and --dev-fraction exclude each other; give one")
    if options.dev_speakers is not None:
        return hold_out_speakers(items, options.dev_speakers)
    if options.dev_fraction is not None:
        return hold_out_fraction(items, options.dev_fraction)
    return list(items)


def _check_folder(out: Path, splits: set[str]) -> None:
    """A folder that holds splits of another preparation would mix two corpora without a word."""
    with explained(out, "write the prepared data there", "then run the same command again, or choose another -o"):
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    present = {path.stem for path in out.glob("*.jsonl")} - {"refused"}
    stale = sorted(present - splits)
    if stale:
        raise UserError(
            f"{out}: holds split {stale[0]!r} of an earlier preparation, which this one does not write; "
            f"remove the folder or choose another -o"
        )


def _with_usable_text(items: Sequence[Item], normalize: Callable[[str], str], refused: list[Refused]) -> list[Item]:
    usable: list[Item] = []
    seen: set[str] = set()
    for item in items:
        text = normalize(item.text)
        if not _is_unicode(item.id + text + str(item.audio)):
            reason = "id, path or text is not valid Unicode"
            refused.append(Refused(item.id, str(item.audio), reason, item.split))
        elif not text:
            reason = f"text is empty after normalisation: {item.text!r}" if item.text.strip() else "text is empty"
            refused.append(Refused(item.id, str(item.audio), reason, item.split))
        elif item.id in seen:
            refused.append(Refused(item.id, str(item.audio), "duplicate id: an earlier utterance has it", item.split))
        else:
            seen.add(item.id)
            usable.append(item._replace(text=text))
    return usable


def _is_unicode(text: str) -> bool:
    """False for lone surrogates: file names in another encoding, broken escapes in JSON.  No file can hold them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _with_usable_audio(
    items: Sequence[Item],
    out: Path,
    options: PrepareOptions,
    progress: Callable[[int, int], None],
    refused: list[Refused],
) -> list[Utterance]:
    tasks = [
        Task(item.audio, options.sample_rate, _converted(out, item) if options.resample else None) for item in items
    ]
    usable: list[Utterance] = []
    seen: dict[bytes, str] = {}
    checks = check_all(tasks, options.jobs or available_cores())
    for done, (item, checked) in enumerate(zip(items, checks, strict=True), 1):
        twin = seen.setdefault(checked.fingerprint, item.id) if checked.problem is None else item.id
        problem = checked.problem or (f"duplicate audio: same samples as {twin}" if twin != item.id else None)
        if problem:
            refused.append(Refused(item.id, str(item.audio), problem, item.split))
        else:
            path = checked.audio.resolve()
            usable.append(Utterance(item.id, path, item.text, item.speaker, item.split, checked.num_samples))
        progress(done, len(items))
    return usable


def _converted(out: Path, item: Item) -> Path:
    """Where the converted copy goes: the id, made safe for a file name and still unique (ids are)."""
    safe = re.sub(r"[^\w.-]", lambda match: f"%{ord(match[0]):x}", item.id)
    return out / "audio" / item.split / f"{safe}.flac"


def _cut_line(utterance: Utterance, rate: int) -> str:
    """One line of a lhotse CutSet: a MonoCut over a whole recording with one supervision."""
    u, duration = utterance, utterance.num_samples / rate
    recording: dict[str, Any] = {
        "id": u.id,
        "sources": [{"type": "file", "channels": [0], "source": str(u.audio)}],
        "sampling_rate": rate,
        "num_samples": u.num_samples,
        "duration": duration,
        "channel_ids": [0],
    }
    segment = {"id": u.id, "recording_id": u.id, "start": 0.0, "duration": duration, "channel": 0}
    cut = {"id": u.id, "start": 0.0, "duration": duration, "channel": 0}
    supervision = {**segment, "text": u.text, "speaker": u.speaker}
    line = {**cut, "supervisions": [supervision], "recording": recording, "type": "MonoCut"}
    return json.dumps(line, ensure_ascii=False) + "\n"


def _check_refused(out: Path, usable: int, refused: Sequence[Refused], limit: float) -> None:
    total = usable + len(refused)
    if usable and len(refused) <= limit * total:
        return
    examples = {r.kind: r.file for r in reversed(refused)}
    counts = Counter(r.kind for r in refused).most_common(8)
    reasons = "".join(f"\n  {count} x {kind} (first: {examples[kind]})" for kind, count in counts)
    raise UserError(
        f"{len(refused)} of {total} utterances are refused, the limit is {limit:.0%} (--max-refused):{reasons}\n"
        f"  all of them: {out / 'refused.jsonl'}"
    )


def _write_refused(out: Path, refused: Sequence[Refused]) -> None:
    lines = (json.dumps(r._asdict(), ensure_ascii=False) + "\n" for r in refused)
    with explained(out, "write the prepared data there"):
        write_text(out / "refused.jsonl", "".join(lines))
