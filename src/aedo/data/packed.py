"""Where an utterance of packed data lies: a place in a tar file, written TAR#START+SIZE.

Reading one utterance costs one read at a known place, in any order.  `aedo.data.pack` writes such files.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

_PLACE = re.compile(r"(?P<tar>.+\.tar)#(?P<start>\d+)\+(?P<size>\d+)")


def member(place: str) -> BinaryIO | None:
    """What lies at TAR#START+SIZE; None where `place` is the path of a plain file.

    Raises OSError where the tar file cannot be read, ValueError where it ends before.
    """
    found = _PLACE.fullmatch(place)
    if found is None:
        return None
    with open(found["tar"], "rb", buffering=0) as file:
        file.seek(int(found["start"]))
        content = file.read(int(found["size"]))
    if len(content) < int(found["size"]):
        raise ValueError(f"{found['tar']} ends before this utterance does")
    return io.BytesIO(content)


def file_of(place: str) -> str:
    """The file that a source is in, or is."""
    found = _PLACE.fullmatch(place)
    return found["tar"] if found else place


def beside(line: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A line of a manifest in `folder`, whose source, if packed, is meant relative to it; changed in place."""
    source = line["recording"]["sources"][0]
    if source.get("type") == "shar":
        source["source"] = os.path.join(os.path.abspath(folder), source["source"])
    return line
