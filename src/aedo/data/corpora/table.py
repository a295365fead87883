"""A corpus as a table: CSV, TSV or JSONL, one utterance a line.

Columns: audio path (audio, path, file, wav ...; relative to the table), text, optional speaker, split and id.
TSV has no quoting: a quotation mark is text, as Common Voice writes it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aedo.data.corpora.listing import UNKNOWN_SPEAKER, Item, Listing, id_from
from aedo.errors import UserError

_NAMES = {
    "audio": ("audio", "path", "file", "wav", "audio_path", "audio_filepath", "filename", "file_name"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "split": ("split", "subset"),
    "id": ("id", "utterance", "utterance_id"),
}
_SPLITS = {name: name for name in ("train", "dev", "test")} | {
    "training": "train",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "development": "dev",
}
_FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_SPLIT_NAME = re.compile(r"[\w-][\w.-]*")


class _Row(NamedTuple):
    """One line: its values by column, or why it has none."""

    line: int
    values: dict[str, str]
    problem: str | None = None


class _Columns(NamedTuple):
    audio: str
    text: str
    speaker: str | None
    split: str | None
    id: str | None


def list_table(file: Path, audio_column: str | None = None, text_column: str | None = None) -> Listing:
    """Every line of the table, in order; damaged lines are refused with their number.

    Raises UserError: no such file, unknown format, not UTF-8, no column for the audio or the text.
    """
    kind = _FORMATS.get(file.suffix.lower())
    if kind is None:
        raise UserError(f"{file}: a table ends in {', '.join(_FORMATS)}; rename or convert it")
    try:
        rows = list(_jsonl_rows(file) if kind == "jsonl" else _separated_rows(file, kind))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not UTF-8 (byte {error.start}); convert it first") from error
    listing = Listing(source=f"table {file.resolve()}")
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    if not names:
        if rows:
            raise UserError(f"{file}:{rows[0].line}: {rows[0].problem}; no line of the table can be read")
        raise UserError(f"{file}: the table has no lines")
    columns = _columns(file, names, audio_column, text_column)
    unused = [name for name in names if name not in columns]
    if unused:
        listing.notes.append(f"columns not used: {', '.join(unused)}")
    for row in rows:
        if row.problem:
            listing.refuse("", f"{file}:{row.line}", row.problem)
        else:
            _add(file, row, columns, listing)
    return listing


def _columns(file: Path, names: Sequence[str], audio: str | None, text: str | None) -> _Columns:
    lower = {name.strip().lower(): name for name in reversed(names)}

    def find(role: str) -> str | None:
        return next((lower[name] for name in _NAMES[role] if name in lower), None)

    def required(role: str, asked: str | None) -> str:
        if asked is not None and asked not in names:
            raise UserError(f"{file}: unknown column {asked!r} (--{role}-column); it has {', '.join(names)}")
        found = asked or find(role)
        if found is None:
            known = ", ".join(_NAMES[role])
            raise UserError(
                f"{file}: no column for the {role} ({known}); it has {', '.join(names)}: "
                f"say which with --{role}-column, or add a line of column names"
            )
        return found

    return _Columns(required("audio", audio), required("text", text), find("speaker"), find("split"), find("id"))


def _add(file: Path, row: _Row, columns: _Columns, listing: Listing) -> None:
    def value(column: str | None) -> str:
        return row.values.get(column, "").strip() if column else ""

    place = f"{file}:{row.line}"
    path = value(columns.audio)
    split = value(columns.split) or "train"
    split = _SPLITS.get(split.lower(), split)
    id = value(columns.id) or id_from(Path(path))
    if not path:
        listing.refuse(id, place, "no audio path in this line", split)
    elif not _SPLIT_NAME.fullmatch(split) or split == "refused":
        listing.refuse(id, place, f"split name is unusable: {split!r}; use letters, digits, - and _")
    else:
        speaker = value(columns.speaker) or UNKNOWN_SPEAKER
        listing.items.append(Item(id, file.parent / path, value(columns.text), speaker, split))


def _separated_rows(file: Path, kind: str) -> Iterator[_Row]:
    """Every line as wide as the first; the csv module's line number is that of the row's last line."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = (
            csv.reader(lines, strict=True)
            if kind == "csv"
            else csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        )
        header: list[str] | None = None
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield _Row(reader.line_num, {}, f"corrupt table line: {error}")
                continue
            if not fields:
                continue
            if header is None:
                header = fields
            elif len(fields) != len(header):
                yield _Row(reader.line_num, {}, f"corrupt table line: {len(fields)} fields, expected {len(header)}")
            else:
                yield _Row(reader.line_num, dict(zip(header, fields, strict=True)))


def _jsonl_rows(file: Path) -> Iterator[_Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except ValueError as error:
                yield _Row(number, {}, f"corrupt table line: not JSON ({error})")
                continue
            if not isinstance(values, dict):
                yield _Row(number, {}, "corrupt table line: not a JSON object")
            else:
                yield _Row(number, {key: "" if value is None else str(value) for key, value in values.items()})
