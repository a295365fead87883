"""Vocabularies of imported models, read without running anything, and written as the tokenizer of a run folder."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aedo.conventions import EOS
from aedo.data.bpe import BpeTokenizer, merges
from aedo.data.text import SentencePieceTokenizer, Tokenizer, write_description
from aedo.errors import UserError

LARGEST_FILE = 64 << 20
"""Bytes; the usual vocabulary of 10,000 pieces has 200 thousand."""
LARGEST_ID = 10_000_000
END_NAMES = ("</s>", "<s>", "[END]", "[START]", "<eos>", "<EOS>", "<sos/eos>")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
PICKLES = (b"\x80", b"(dp", b"(lp")


def read_labels(path: Path) -> list[str]:
    """Names of the labels by number.

    Forms, all of them text: a Python dict of name -> number (RETURNN's own) or list of names; the same as JSON; one
    name a line; a name and its number on each line.  Of several names of one number (`<s>` and `</s>`) the first stays.
    UserError for everything else.
    """
    text = _text(path)
    if text.lstrip()[:1] in ("{", "["):
        parsed = _literal(path, text)
        if isinstance(parsed, list):
            return _by_number(path, ((name, number) for number, name in enumerate(parsed)))
        if not isinstance(parsed, dict):
            raise UserError(f"{path}: a Python {type(parsed).__name__}, expected a dict of names and numbers or a list")
        return _by_number(path, parsed.items())
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if lines and all(len(line) == 2 and line[1].isdecimal() and len(line[1]) < 9 for line in lines):
        return _by_number(path, ((name, int(number)) for name, number in lines))
    if any(len(line) != 1 for line in lines):
        number = next(number for number, line in enumerate(text.splitlines(), 1) if len(line.split()) > 1)
        raise UserError(f"{path}:{number}: expected one name a line, or a name and its number on every line")
    return _by_number(path, ((line[0], number) for number, line in enumerate(lines)))


def write_tokenizer(folder: Path, vocabulary: Path | None, codes: Path | None, size: int) -> Tokenizer:
    """Write the tokenizer of an imported model with `size` labels into `folder`.

    vocabulary: a SentencePiece model or a list of labels; None: labels are called by their numbers.
    UserError where it is unreadable or not the vocabulary of this model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if vocabulary is None:
        if codes is not None:
            raise UserError("--bpe-codes goes with --vocab: give the labels, too")
        labels = ["</s>", *(str(number) for number in range(1, size))]
        return _write_bpe(folder, labels, None)
    if vocabulary.is_file() and vocabulary.suffix in (".model", ".spm"):
        if codes is not None:
            raise UserError("--bpe-codes does not go with a SentencePiece model, which holds its own")
        return _write_sentencepiece(folder, vocabulary, size)
    labels = read_labels(vocabulary)
    _check_size(vocabulary, len(labels), size)
    if labels[EOS] not in END_NAMES:
        raise UserError(
            f"{vocabulary}: label {EOS} is {labels[EOS]!r}, but aedo needs the end of sentence (</s> or <s>) there"
        )
    return _write_bpe(folder, labels, None if codes is None else _codes(codes, labels))


def _write_bpe(folder: Path, labels: list[str], codes: str | None) -> Tokenizer:
    tokenizer = BpeTokenizer(labels, codes)
    content: dict[str, Any] = {"labels": labels, "unknown": tokenizer.unknown}
    if codes is not None:
        (folder / "bpe.codes").write_text(codes, encoding="utf-8")
        content["codes"] = "bpe.codes"
    write_description(folder, "returnn-bpe", tokenizer, content)
    return tokenizer


def _write_sentencepiece(folder: Path, path: Path, size: int) -> Tokenizer:
    model = path.read_bytes()
    try:
        tokenizer = SentencePieceTokenizer(model)
    except RuntimeError as error:
        raise UserError(f"{path}: not a SentencePiece model ({str(error).splitlines()[0]:.200})") from None
    _check_size(path, tokenizer.size, size)
    if tokenizer.eos != EOS:
        raise UserError(f"{path}: the end of sentence is label {tokenizer.eos}, but aedo needs it to be {EOS}")
    (folder / "tokenizer.model").write_bytes(model)
    write_description(folder, "sentencepiece", tokenizer, {"model": "tokenizer.model", "unknown": tokenizer.unknown})
    return tokenizer


def _codes(path: Path, labels: list[str]) -> str:
    codes = _text(path)
    try:
        merges(codes, set(labels))
    except (SystemExit, ValueError, IndexError):  # subword-nmt ends the process on a line it does not like
        raise UserError(
            f"{path}: not a file of BPE codes: two symbols a line, after an optional #version line"
        ) from None
    return codes


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path}: {path.stat().st_size} bytes: not a vocabulary")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if content.startswith(PICKLES) or path.suffix in (".pkl", ".pickle") or _BINARY.search(content[:1000]):
        raise UserError(
            f"{path}: no text but perhaps a pickle, which could run any code; save the vocabulary as text, one name "
            "a line (a SentencePiece model needs the ending .model)"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def _literal(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise UserError(f"{path}: not a Python or JSON literal of names and numbers ({error!s:.100})") from None


def _by_number(path: Path, entries: Iterable[tuple[Any, Any]]) -> list[str]:
    names: dict[int, str] = {}
    seen = set()
    for name, number in entries:
        if not isinstance(name, str) or not name or isinstance(number, bool) or not isinstance(number, int):
            raise UserError(f"{path}: entry {name!r:.50}: {number!r:.50} is not a name and a number")
        if not 0 <= number < LARGEST_ID:
            raise UserError(f"{path}: {name!r:.50} has the number {number}, expected 0 and up")
        if name in seen:
            raise UserError(f"{path}: {name!r:.50} is there twice")
        seen.add(name)
        names.setdefault(number, name)
    missing = next((number for number in range(len(names)) if number not in names), None)
    if not names or missing is not None:
        raise UserError(f"{path}: {'empty' if not names else f'no name has the number {missing}'}")
    return [names[number] for number in range(len(names))]


def _check_size(path: Path, labels: int, size: int) -> None:
    if labels != size:
        raise UserError(
            f"{path}: {labels} labels, but the model has {size} (EOS included, blank not): not its vocabulary"
        )
