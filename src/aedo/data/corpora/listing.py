"""What a corpus reader finds: utterances to prepare and lines it had to refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".sph", ".w64", ".caf", ".oga")
UNKNOWN_SPEAKER = "unknown"


class Item(NamedTuple):
    """One utterance as the corpus tells it, unchecked."""

    id: str
    audio: Path
    text: str
    speaker: str = UNKNOWN_SPEAKER
    split: str = "train"


class Refused(NamedTuple):
    """One utterance left out: where it stands (audio file, or table and line) and why."""

    id: str
    file: str
    reason: str
    split: str = ""

    @property
    def kind(self) -> str:
        """The reason without its details, for counting."""
        return self.reason.partition(":")[0]


@dataclass
class Listing:
    """A corpus reader's result."""

    source: str
    """What was read, for the data card."""
    items: list[Item] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Remarks for the user, such as columns that are not used."""

    def refuse(self, id: str, file: str | Path, reason: str, split: str = "") -> None:
        self.refused.append(Refused(id, str(file), reason, split))


def is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


def id_from(path: Path) -> str:
    """An utterance's name from its path relative to the corpus: folders joined by "-", no suffix."""
    return "-".join(part for part in (*path.parent.parts, path.stem) if part not in ("/", "..", "."))
