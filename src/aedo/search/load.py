"""From a run folder to a transcriber."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder
from aedo.search.choose import preferred, recognizer_of
from aedo.search.confidence import Calibration
from aedo.search.config import kind_named
from aedo.search.device import device_of
from aedo.search.precision import precision_of
from aedo.search.recognize import Recognizer
from aedo.search.segments import Cutting
from aedo.search.transcribe import Transcriber


def load_transcriber(
    run: Path,
    *,
    checkpoint: str = "",
    device: str = "auto",
    beam: int | None = None,
    search: str = "",
    precision: str = "float32",
    cutting: Cutting | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Transcriber:
    """See `aedo.load`.  Confidences are calibrated where `aedo calibrate` did so for this checkpoint and search."""
    kind = kind_named(search) if search else None
    if kind == "ctc_greedy" and beam is not None:
        raise UserError("the best CTC path is a single one: give a beam or the search ctc, not both")
    folder, where = RunFolder.open(run), device_of(device)
    taken = folder.checkpoint(checkpoint) if checkpoint else preferred(folder)
    recognizer = recognizer_of(
        folder, taken, where, kind=kind, beam=beam, precision=precision_of(precision, where), settings=settings
    )
    calibration, origin = Calibration.load(run), _origin(recognizer, taken)
    if calibration is not None and any(calibration.made_from.get(name) != value for name, value in origin.items()):
        calibration = None  # of another model or search
    return Transcriber(recognizer, folder.experiment().audio, calibration, cutting, origin)


def _origin(recognizer: Recognizer, checkpoint: Checkpoint) -> dict[str, Any]:
    """What decides how a word's evidence comes about.  Precision is left out: it changes next to nothing."""
    return {
        "checkpoint": checkpoint.label,
        "checkpoint_digest": hashlib.sha256(checkpoint.describe().encode()).hexdigest()[:16],
        "search": recognizer.config.described(recognizer.kind),
    }
