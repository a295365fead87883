"""Reading a PyTorch checkpoint of unknown origin: plain tensors only, no code is run, no memory is given away."""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aedo.errors import UserError

MOST_ENTRIES = 100_000
"""Files inside a checkpoint; the full-size model has some 450."""
LONGEST_NAME = 200


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A state dict and where its training stood."""

    path: Path
    state: dict[str, Tensor]
    """float32, on the CPU, all values finite."""
    epoch: int
    step: int
    """Micro-steps."""


def read_checkpoint(path: Path) -> ForeignCheckpoint:
    """The checkpoint at `path`: {"model": state dict, "epoch", "step", ...} or a bare state dict.

    UserError for everything else: other files, truncated ones, pickled code, values that are no float tensors.
    """
    size = _check_archive(path)
    content = _load(path)
    state = content.get("model", content)
    if not isinstance(state, dict) or not state:
        raise UserError(
            f"{path}: holds no state dict under 'model'; give a model checkpoint of RETURNN's PyTorch engine"
        )
    _check_state(path, state, size)
    return ForeignCheckpoint(
        path,
        {name: value.detach().float() for name, value in state.items()},
        _count(path, content, "epoch"),
        _count(path, content, "step"),
    )


def shown(name: object) -> str:
    """A name out of a foreign file, fit for a message: printable and short."""
    text = name if isinstance(name, str) and name.isprintable() else ascii(name)
    return text if len(text) <= 100 else text[:97] + "..."


def _check_archive(path: Path) -> int:
    """The size of the file in bytes; UserError unless it is a zip archive that does not grow when unpacked."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            grows = sum(entry.file_size for entry in entries) > size
            damaged = None if grows or len(entries) > MOST_ENTRIES else archive.testzip()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder; give the .pt file itself") from None
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"{path}: not a PyTorch checkpoint, or a truncated one ({error}); copy it anew and compare the sizes"
        ) from None
    if len(entries) > MOST_ENTRIES:
        raise UserError(f"{path}: {len(entries)} entries inside: not a checkpoint of a model")
    if grows:
        raise UserError(f"{path}: its contents are larger than the file itself; torch.save never compresses: refused")
    if damaged is not None:
        raise UserError(f"{path}: damaged: {shown(damaged)} does not match its checksum; copy the file anew")
    return size


def _load(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        wanted = re.search(r"(?:Unsupported global: )?GLOBAL (\S+)", str(error))
        if wanted:
            raise UserError(
                f"{path}: wants to run or build {shown(wanted[1])}, but a checkpoint needs nothing except tensors: "
                "refused; save its state dict alone"
            ) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable PyTorch checkpoint ({reason:.200})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dict with a state dict under 'model'")
    return content


def _check_state(path: Path, state: dict[Any, Any], size: int) -> None:
    problems, total = [], 0
    for name, value in state.items():
        problem = _problem(name, value)
        if problem:
            problems.append(f"{shown(name)}: {problem}")
        else:
            total += value.numel() * value.element_size()
    if problems:
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise UserError(f"{path}: not a state dict of plain tensors:\n  " + "\n  ".join(problems[:20]) + more)
    if total > 2 * size:  # shared matrices count twice
        raise UserError(f"{path}: {total} bytes of parameters in a file of {size}: they overlap; refused")


def _problem(name: object, value: object) -> str | None:
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME:
        return "not a parameter's name"
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}, not a tensor"
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        return "not a plain dense tensor"
    if not value.is_floating_point():
        return f"of type {str(value.dtype).removeprefix('torch.')}; parameters are floating-point numbers"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "larger than the data stored for it"
    if not bool(value.isfinite().all()):
        return "has values that are not finite (NaN or infinity): the training had broken down"
    return None


def _count(path: Path, content: dict[str, Any], name: str) -> int:
    value = content.get(name, 0)
    if isinstance(value, Tensor):  # a parameter of that name in a bare state dict
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 48:
        raise UserError(f"{path}: {name} is {value!r:.60}, expected a whole number")
    return value
