"""A folder of reference values: a checkpoint, its description, inputs, and what the original system computed.

config.json or dims.json   what the model is
checkpoint.pt or tf-ckpt/  its weights (config.json's "checkpoint" may point elsewhere)
inputs.npz                 audio [B, N], audio_len, targets [B, U], targets_len
outputs.npz or tf_outputs.npz, beam.json
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.errors import UserError
from aedo.model.labels import Labels

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Inputs:
    audio: Tensor
    """[B, N] float32."""
    lengths: Tensor
    """[B] int64, in samples."""
    labels: Labels
    """Without EOS."""
    eos: bool
    """Whether the folder's targets end with EOS: its CTC losses see them as they are."""


@dataclass(frozen=True)
class GoldenFolder:
    path: Path
    config: dict[str, Any]
    """config.json; empty where there is only dims.json."""
    dims: dict[str, Any] = field(default_factory=dict)
    """dims.json: dimensions that the checkpoint shows too."""

    @classmethod
    def open(cls, path: Path) -> GoldenFolder:
        """UserError where the folder is not of this form."""
        if not path.is_dir():
            raise UserError(f"{path}: not a folder")
        if (path / "config.json").is_file():
            return cls(path, json_of(path / "config.json"))
        if (path / "dims.json").is_file():
            return cls(path, {}, json_of(path / "dims.json"))
        raise UserError(f"{path}: not a folder of reference values: it has neither config.json nor dims.json")

    @property
    def checkpoint(self) -> Path:
        """The weights: a file of RETURNN's PyTorch engine, or the index of a TensorFlow checkpoint."""
        if (self.path / "tf-ckpt").is_dir() and "checkpoint" not in self.config:
            found = sorted((self.path / "tf-ckpt").glob("*.index"))
            if len(found) != 1:
                raise UserError(f"{self.path / 'tf-ckpt'}: expected one .index file, found {len(found)}")
            return found[0]
        named = self.path / str(self.config.get("checkpoint", "checkpoint.pt"))
        for candidate in (named, named.with_suffix(".safetensors")):
            if candidate.is_file():
                return candidate
        raise UserError(f"{named}: missing; a folder needs its checkpoint, or the place of one in config.json")

    @cached_property
    def inputs(self) -> Inputs:
        path = self.path / "inputs.npz"
        arrays = arrays_of(path)
        missing = [name for name in ("audio", "audio_len", "targets", "targets_len") if name not in arrays]
        if missing:
            raise UserError(f"{path}: {', '.join(missing)} missing; aedo verify runs models that read audio")
        audio, lengths = torch.from_numpy(arrays["audio"]).float(), torch.from_numpy(arrays["audio_len"]).long()
        ids, counts = torch.from_numpy(arrays["targets"]).long(), torch.from_numpy(arrays["targets_len"]).long()
        _check_lengths(path, "audio", audio, lengths)
        _check_lengths(path, "targets", ids, counts)
        if len(audio) != len(ids):
            raise UserError(f"{path}: {len(audio)} utterances in audio, {len(ids)} in targets")
        eos = bool((counts > 0).all()) and bool((ids.gather(1, (counts - 1)[:, None].clamp_min(0)) == EOS).all())
        counts = counts - int(eos)
        ids = ids[:, : int(counts.max())]
        return Inputs(
            audio, lengths, Labels(ids.masked_fill(torch.arange(ids.shape[1]) >= counts[:, None], EOS), counts), eos
        )

    @cached_property
    def outputs(self) -> dict[str, Array]:
        """By the reference's name; empty where the folder has none."""
        paths = [self.path / name for name in ("outputs.npz", "tf_outputs.npz")]
        return {name: array for path in paths if path.is_file() for name, array in arrays_of(path).items()}

    @cached_property
    def beams(self) -> dict[str, Any]:
        """beam.json; empty where the folder has none."""
        path = self.path / "beam.json"
        return json_of(path) if path.is_file() else {}


def arrays_of(path: Path) -> dict[str, Array]:
    """All arrays of an .npz file; nothing is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise UserError(f"{path}: not a readable .npz file of plain arrays ({error})") from None


def json_of(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected an object, found {type(content).__name__}")
    return content


def _check_lengths(path: Path, name: str, values: Tensor, lengths: Tensor) -> None:
    if values.ndim != 2 or lengths.shape != values.shape[:1] or not len(values):
        raise UserError(
            f"{path}: {name} must be [B, ...] with B lengths, not {list(values.shape)}, {list(lengths.shape)}"
        )
    if int(lengths.min()) < 0 or int(lengths.max()) > values.shape[1]:
        raise UserError(f"{path}: {name}_len goes beyond the {values.shape[1]} columns of {name}")
