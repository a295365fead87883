"""A corpus as a folder: audio files, each beside a text file of the same name (talk.wav, talk.txt)."""

from __future__ import annotations

from pathlib import Path

from aedo.data.corpora.listing import UNKNOWN_SPEAKER, Item, Listing, id_from, is_audio
from aedo.errors import UserError

_SPLIT_FOLDERS = ("train", "dev", "test")


def list_folder(folder: Path) -> Listing:
    """Every audio file below `folder` with its text, in the order of their paths.

    A top folder train, dev or test (or train-..., dev-..., test-...) is a split, everything else is train.  The
    folder around a file, below the split, names its speaker; files at the top have none.
    Raises UserError when there is no audio.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    listing = Listing(source=f"folder {folder.resolve()}")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    audio = [path for path in paths if is_audio(path)]
    if not audio:
        raise UserError(f"{folder}: no audio files below it (wav, flac, ogg, opus, mp3 ...)")
    for path in audio:
        relative = path.relative_to(folder)
        *folders, _ = relative.parts
        split = "train"
        if folders and folders[0].split("-")[0] in _SPLIT_FOLDERS:
            split, *folders = folders
        speaker = folders[-1] if folders else UNKNOWN_SPEAKER
        id = id_from(relative)
        try:
            text = path.with_suffix(".txt").read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            listing.refuse(id, path, f"text file is missing: {path.with_suffix('.txt').name}", split)
        except (OSError, UnicodeDecodeError) as error:
            listing.refuse(id, path, f"text file is unreadable: {path.with_suffix('.txt').name}, {error}", split)
        else:
            listing.items.append(Item(id, path, text, speaker, split))
    told = {path.with_suffix("") for path in audio}
    for path in paths:
        if path.suffix == ".txt" and path.with_suffix("") not in told and not path.name.endswith(".trans.txt"):
            listing.refuse(id_from(path.relative_to(folder)), path, "text without an audio file")
    return listing
