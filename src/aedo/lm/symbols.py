"""What labels are called in ARPA files: every name one word, no two alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from aedo.conventions import EOS
from aedo.data.text import Tokenizer

BEGIN, END, UNKNOWN_NAME = "<s>", "</s>", "<unk>"
_WORD = "\u2581"
"""Stands for the blank, as in SentencePiece's pieces."""


@dataclass(frozen=True)
class Symbols:
    """Labels and their names.  V labels; V stands for the begin of a sentence, V + 1 for a word that is no label."""

    names: tuple[str, ...]
    """[V]."""
    unknown: int | None
    """The label called <unk>, where there is one."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Symbols:
        """A label whose name a file cannot hold, or that has the name of another, is called by its number: <17>."""
        names = [label.replace(" ", _WORD) for label in tokenizer.labels]
        counts = Counter(names)
        reserved = {BEGIN, END, UNKNOWN_NAME, UNKNOWN_NAME.upper()}
        for number, name in enumerate(names):
            if name in reserved or counts[name] > 1 or len(name.split()) != 1:
                names[number] = f"<{number}>"
        names[EOS] = END
        if tokenizer.unknown is not None:
            names[tokenizer.unknown] = UNKNOWN_NAME
        return cls(tuple(names), tokenizer.unknown)

    @property
    def size(self) -> int:
        """V."""
        return len(self.names)

    @property
    def begin(self) -> int:
        return self.size

    @property
    def no_label(self) -> int:
        return self.size + 1

    def numbers(self) -> dict[str, int]:
        """By name, with those of the begin of a sentence and of unknown words."""
        unknown = self.no_label if self.unknown is None else self.unknown
        found = {name: number for number, name in enumerate(self.names)}
        return found | {BEGIN: self.begin, UNKNOWN_NAME: unknown, UNKNOWN_NAME.upper(): unknown}
