"""Packed data: a prepared folder whose audio lies in a few tar files (lhotse's Shar) instead of one file an utterance.

    OUT/train.jsonl                  the manifest, as of any prepared folder; its sources are places in the tar files
    OUT/train/cuts.000000.jsonl.gz   the same cuts for lhotse (CutSet.from_shar(in_dir="OUT/train"))
    OUT/train/recording.000000.tar   the files themselves, byte for byte, each followed by its description

Training on it draws the same batches as before (`aedo.data.packed` reads it).
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aedo.data.manifest import ManifestFile
from aedo.data.packed import member
from aedo.errors import UserError
from aedo.files import explained, new_folder

SHARD = 1000
"""Utterances of a tar file."""


def pack(
    data: Path, out: Path, *, shard: int = SHARD, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, int]:
    """Pack all splits of a prepared folder; utterances by split.  All or nothing: `out` appears complete.

    UserError where there is nothing to pack, `out` exists, or an utterance is only a part of its file.
    """
    paths = sorted(path for path in data.glob("*.jsonl") if path.stem != "refused") if data.is_dir() else []
    if not paths:
        raise UserError(f"{data}: no prepared data here (no SPLIT.jsonl); run aedo prepare first")
    if out.exists():
        raise UserError(f"{out}: exists already; remove it or choose another -o")
    files = [ManifestFile.open(path) for path in paths]
    total, done = sum(len(file.num_samples) for file in files), 0
    with explained(out, "write the packed data"), new_folder(out.absolute()) as folder:
        for file in files:
            with open(folder / file.path.name, "w", encoding="utf-8") as manifest:
                for number, lines in enumerate(_shards(file.lines(), shard)):
                    for line in _write_shard(folder, file.path.stem, number, lines, file.path):
                        manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
                        done += 1
                        progress(done, total)
        for name in ("card.json", "card.md", "refused.jsonl"):
            if (data / name).is_file():
                shutil.copy(data / name, folder / name)
    return {file.path.stem: len(file.num_samples) for file in files}


def _shards(lines: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    shard: list[dict[str, Any]] = []
    for line in lines:
        shard.append(line)
        if len(shard) == size:
            yield shard
            shard = []
    if shard:
        yield shard


def _write_shard(
    folder: Path, split: str, number: int, lines: list[dict[str, Any]], where: Path
) -> Iterator[dict[str, Any]]:
    """One tar file and its cuts; the lines of our manifest, as they are written."""
    (folder / split).mkdir(exist_ok=True)
    name = f"{split}/recording.{number:06d}.tar"
    cuts = folder / split / f"cuts.{number:06d}.jsonl.gz"
    with (
        tarfile.open(folder / name, "w", format=tarfile.GNU_FORMAT) as tar,
        io.TextIOWrapper(gzip.GzipFile(cuts, "wb", mtime=0), encoding="utf-8") as listing,
    ):
        for line in lines:
            content, suffix = _content(line, where)
            recording = {**line["recording"], "sources": [_source("")]}
            safe = line["id"].replace("/", "%2f")
            start = _add(tar, f"{safe}{suffix}", content)
            _add(tar, f"{safe}.json", json.dumps(recording, ensure_ascii=False).encode())
            listing.write(json.dumps({**line, "recording": recording}, ensure_ascii=False) + "\n")
            yield {**line, "recording": {**recording, "sources": [_source(f"{name}#{start}+{len(content)}")]}}


def _source(place: str) -> dict[str, Any]:
    return {"type": "shar", "channels": [0], "source": place}


def _content(line: dict[str, Any], where: Path) -> tuple[bytes, str]:
    """The bytes of an utterance's file, and the end of its name."""
    source, recording = line["recording"]["sources"][0]["source"], line["recording"]
    if line["start"] or abs(line["duration"] - recording["duration"]) * recording["sampling_rate"] > 1:
        raise UserError(
            f"{where}: utterance {line['id']}: only a part of {source}; cut the recordings into a file an utterance"
        )
    packed = member(source)
    if packed is not None:
        return packed.read(), ".audio"  # what it was called is not kept
    try:
        return Path(source).read_bytes(), Path(source).suffix or ".audio"
    except OSError as error:
        raise UserError(f"{where}: utterance {line['id']}: {source}: {error.strerror}; prepare the data anew") from None


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a file; where its content begins.  Its times are left out: the same data, the same bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    before = tar.offset
    tar.addfile(info, io.BytesIO(content))
    blocks = -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    start: int = tar.offset - blocks
    assert start > before  # a header of one block, or of several where the name is long
    return start
