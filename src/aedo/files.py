"""Files that are either whole or absent: written under a temporary name, synced to the disk, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aedo.errors import UserError

_MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EACCES: "make the folder writable or choose another one",
    errno.EPERM: "make the folder writable or choose another one",
    errno.EROFS: "choose a folder on a writable disk",
    errno.ENOTDIR: "choose a folder, not a file",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path`, atomically: readers see the old text or the new one, whatever happens in between."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def temporary_folder(path: Path) -> Path:
    """The name under which `new_folder` fills the folder `path`."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill, which becomes `path` at the end of the block and vanishes if the block fails."""
    temporary = temporary_folder(path)
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                sync_file(Path(folder) / name)
            sync_folder(Path(folder))
        if path.exists():
            remove_folder(path)
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder so that it is whole or gone: it loses its name first, its files afterwards."""
    condemned = path.with_name(f".{path.name}.old")
    if condemned.exists():
        shutil.rmtree(condemned)
    os.rename(path, condemned)
    shutil.rmtree(condemned)


def remove_leftovers(folder: Path) -> None:
    """Remove what the functions above left behind in `folder` when the process was killed."""
    for path in [*folder.glob(".*.tmp"), *folder.glob(".*.old")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def sync_file(path: Path) -> None:
    """Wait until the contents of a file are on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file's contents."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def explained(path: Path, doing: str, afterwards: str = "then run the same command again") -> Iterator[None]:
    """Turn an error of the file system inside the block into a UserError: where, doing what, and the mend."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = _os_error(error)
        if cause is None:
            raise
        mend = _MENDS.get(cause.errno or 0, "check the disk")
        reason = cause.strerror or str(cause)
        raise UserError(f"{path}: cannot {doing}: {reason}; {mend}, {afterwards}") from error


def _os_error(error: BaseException | None) -> OSError | None:
    # torch.save closes its archive while an OSError is under way and raises an error of its own: look behind it.
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None
