"""aedo: attention encoder-decoder + CTC speech recognition in plain PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from aedo.search.segments import Cutting
    from aedo.search.transcribe import Transcriber

__version__ = "0.1.0"


def load(
    run: str | os.PathLike[str],
    *,
    checkpoint: str = "",
    device: str = "auto",
    beam: int | None = None,
    search: str = "",
    precision: str = "float32",
    cutting: Cutting | None = None,
) -> Transcriber:
    """A trained run, ready to transcribe: `aedo.load("runs/an4-...").transcribe("talk.mp3").text`.

    checkpoint: a label, `best` or `last`; by default the average at the training's end, else the best.  device: `auto`,
    `cpu`, `cuda` ...  beam: hypotheses kept, by default the experiment's.  search: `attention`, `joint`,
    `joint-time`, `ctc-prefix` or `ctc`, by default the experiment's.  precision: `float32`, `bfloat16` or `int8` (CPU).
    cutting: how long recordings are cut.  Raises aedo.errors.UserError.
    """
    from pathlib import Path

    from aedo.search.load import load_transcriber

    return load_transcriber(
        Path(run),
        checkpoint=checkpoint,
        device=device,
        beam=beam,
        search=search,
        precision=precision,
        cutting=cutting,
    )
