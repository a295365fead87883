"""Byte-pair encoding as subword-nmt and RETURNN write it: pieces inside a word end with "@@"."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

from aedo.augment.labels import Lexicon
from aedo.conventions import EOS
from aedo.errors import UserError

SEPARATOR = "@@"
_END = "\n"
"""Ends a word where its pieces are looked for: no text has it inside a word."""
UNKNOWN_NAMES = ("<unk>", "<UNK>", "[UNKNOWN]", "[UNK]")


class BpeTokenizer:
    """Labels given by name, label 0 being EOS; words are cut by merge operations (`codes`, the text of that file).

    Without codes every word has to be a label by itself.
    Source: Sennrich et al. 2016.
    """

    def __init__(self, labels: Sequence[str], codes: str | None) -> None:
        self.labels, self.codes = list(labels), codes
        if not self.labels or not all(isinstance(label, str) for label in self.labels):
            raise ValueError("labels must be a list of names")
        self._ids = {label: number for number, label in enumerate(self.labels)}
        self.unknown: int | None = next((self._ids[name] for name in UNKNOWN_NAMES if name in self._ids), None)
        self._bpe: Any = None
        self.size = len(self.labels)
        self.digest = hashlib.sha256(json.dumps([self.labels, codes]).encode()).hexdigest()[:16]

    def __reduce__(self) -> tuple[type[BpeTokenizer], tuple[list[str], str | None]]:
        return BpeTokenizer, (self.labels, self.codes)

    def encode(self, text: str) -> list[int]:
        """UserError for a piece that is no label where the vocabulary has no label for what is unknown."""
        words = text.split()
        pieces = words if self.codes is None else self._cutter().segment_tokens(words)
        return [self._id(piece) for piece in pieces]

    def decode(self, ids: Sequence[int]) -> str:
        names = ("<unk>" if i == self.unknown else self.labels[i] for i in ids if i != EOS)
        text = f"{' '.join(names)} ".replace(f"{SEPARATOR} ", "")
        return " ".join(text.split())

    def lexicon(self) -> Lexicon:
        usual = {label: i for i, label in enumerate(self.labels) if i not in (EOS, self.unknown)}
        inner = {label[: -len(SEPARATOR)]: i for label, i in usual.items() if label.endswith(SEPARATOR)}
        last = {label + _END: i for label, i in usual.items() if not label.endswith(SEPARATOR)}
        return Lexicon(inner | last, {}, max(map(len, (*inner, *last)), default=0), behind=_END)

    def _id(self, piece: str) -> int:
        number = self._ids.get(piece, self.unknown)
        if number is None:
            raise UserError(f"{piece!r} is no label of the imported vocabulary, which has none for unknown pieces")
        return number

    def _cutter(self) -> Any:
        if self._bpe is None:
            self._bpe = merges(self.codes or "", set(self.labels))
        return self._bpe


def merges(codes: str, labels: set[str]) -> Any:
    """subword-nmt's encoder for the text of a codes file; pieces that are no label are taken apart again."""
    try:
        from subword_nmt.apply_bpe import BPE
    except ImportError:
        raise UserError("texts are cut with subword-nmt: pip install 'aedo[returnn]'") from None
    return BPE(io.StringIO(codes), separator=SEPARATOR, vocab=labels)
