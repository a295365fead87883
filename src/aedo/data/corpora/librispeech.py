"""LibriSpeech's layout: PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt, audio files of any format beside it.

Many corpora come in this layout; a PART may have any name (train, dev-clean ...) and becomes a split.
Source: Panayotov et al. 2015, https://www.openslr.org/12.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from aedo.data.corpora.listing import Item, Listing, is_audio
from aedo.errors import UserError

PARTS = (
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)
MINI_PARTS = ("train-clean-5", "dev-clean-2")
"""Mini LibriSpeech, https://www.openslr.org/31."""


def list_librispeech(folder: Path, parts: Sequence[str] | None = None) -> Listing:
    """Every utterance of the parts (default: all there are), in the order of their paths.

    `folder` holds the parts, or a folder LibriSpeech with the parts, or is itself one part.
    Raises UserError when nothing is there or a part that was asked for is missing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the folder that holds train-clean-100 and so on")
    found = _parts_in(folder) or _parts_in(folder / "LibriSpeech")
    if not found and _has_transcripts(folder):
        found = {folder.resolve().name: folder}
    if not found:
        raise UserError(f"{folder}: no PART/SPEAKER/CHAPTER/*.trans.txt below it; this is not LibriSpeech's layout")
    missing = [part for part in parts or () if part not in found]
    if missing:
        raise UserError(f"{folder}: part {missing[0]!r} is not there; there are {', '.join(found)}")
    listing = Listing(source=f"librispeech {folder.resolve()}")
    for part in sorted(parts or found):
        for transcript in sorted(found[part].glob("*/*/*.trans.txt")):
            _read_chapter(transcript, part, listing)
    return listing


def download_librispeech(folder: Path, parts: Sequence[str] | None = None) -> None:
    """Fetch and unpack the parts (default: all seven, 60 GB) from openslr.org into `folder`/LibriSpeech.

    Parts already complete are not fetched again.  Raises UserError for an unknown part or a failed download.
    """
    known = PARTS + MINI_PARTS
    unknown = [part for part in parts or () if part not in known]
    if unknown:
        raise UserError(f"--download: LibriSpeech has no part {unknown[0]!r}; it has {', '.join(known)}")
    from lhotse.recipes.librispeech import download_librispeech as fetch

    try:
        fetch(folder, dataset_parts=list(parts or PARTS))
    except (OSError, EOFError, HTTPException, tarfile.TarError) as error:
        raise UserError(f"--download into {folder} failed: {error}; check the network and run it again") from error


def _parts_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and _has_transcripts(path)}


def _has_transcripts(part: Path) -> bool:
    return next(part.glob("*/*/*.trans.txt"), None) is not None


def _read_chapter(transcript: Path, part: str, listing: Listing) -> None:
    speaker = transcript.parent.parent.name
    audio = {path.stem: path for path in sorted(transcript.parent.iterdir()) if is_audio(path)}
    try:
        lines = transcript.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        for id, file in audio.items():
            listing.refuse(id, file, f"transcript is unreadable: {transcript.name}, {error}", part)
        return
    told = set()
    for line in lines:
        id, _, text = line.strip().partition(" ")
        if not id:
            continue
        told.add(id)
        path = audio.get(id)
        if path is None:
            listing.refuse(id, transcript.parent / id, "audio file is missing", part)
        else:
            listing.items.append(Item(id, path, text, speaker, part))
    for id in sorted(audio.keys() - told):
        listing.refuse(id, audio[id], f"no transcript: {transcript.name} has no line for it", part)
