"""References and hypotheses from files.

Three formats, told apart by the name's ending: `.jsonl` (id, ref and hyp or text, speaker where known), `.trn` (words,
then the id in parentheses, as sclite reads them), and anything else: an id, a blank, the words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aedo.data.text import normalizer
from aedo.errors import UserError
from aedo.score.wer import Pair


class _Line(NamedTuple):
    id: str
    speaker: str
    text: str


def read_pairs(path: Path, normalize: str = "none") -> list[Pair]:
    """Lines that hold reference and hypothesis.  Raises UserError with file and line."""
    if path.suffix != ".jsonl":
        raise UserError(f"{path}: a result file is JSONL with id, ref and hyp; for other formats give --ref and --hyp")
    apply = normalizer(normalize)
    pairs = []
    for where, fields in _json_lines(path):
        found = [_field(where, fields, name) for name in ("id", "ref", "hyp")]
        pairs.append(Pair(found[0], str(fields.get("speaker") or ""), apply(found[1]), apply(found[2])))
    return pairs


def pairs_of(ref: Path, hyp: Path, normalize: str = "none") -> list[Pair]:
    """References and hypotheses of two files, joined by id.  UserError where an id is missing on one side, or twice."""
    apply = normalizer(normalize)
    references, hypotheses = _by_id(ref, "ref"), _by_id(hyp, "hyp")
    for ids, others, file in ((references, hypotheses, hyp), (hypotheses, references, ref)):
        missing = [id for id in ids if id not in others]
        if missing:
            raise UserError(
                f"{file}: utterance {missing[0]} is missing ({len(missing)} in all); both files need the same ids"
            )
    return [Pair(id, line.speaker, apply(line.text), apply(hypotheses[id].text)) for id, line in references.items()]


def _by_id(path: Path, side: str) -> dict[str, _Line]:
    lines: dict[str, _Line] = {}
    for line in _lines(path, side):
        if line.id in lines:
            raise UserError(f"{path}: utterance {line.id} comes twice")
        lines[line.id] = line
    if not lines:
        raise UserError(f"{path}: holds no utterance")
    return lines


def _lines(path: Path, side: str) -> Iterator[_Line]:
    if path.suffix == ".jsonl":
        for where, fields in _json_lines(path):
            name = side if side in fields else "text"
            yield _Line(_field(where, fields, "id"), str(fields.get("speaker") or ""), _field(where, fields, name))
        return
    for where, text in _text_lines(path):
        if path.suffix == ".trn":
            match = re.fullmatch(r"(.*?)\s*\(([^()\s]+)\)\s*", text)
            if match is None:
                raise UserError(f"{where}: does not end with an id in parentheses, as .trn lines do")
            yield _Line(match[2], "", match[1])
        else:
            id, _, words = text.strip().partition(" ")
            yield _Line(id, "", words)


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, text in _text_lines(path):
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise UserError(f"{where}: not valid JSON ({error})") from None
        if not isinstance(fields, dict):
            raise UserError(f"{where}: not a JSON object")
        yield where, fields


def _text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(file:line, text) of lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", line


def _field(where: str, fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise UserError(f"{where}: has no text in field {name!r}; there are {', '.join(map(str, fields)) or 'none'}")
    return value
