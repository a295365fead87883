"""aedo: attention encoder-decoder + CTC speech recognition in plain PyTorch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aedo.search.segments import Cutting
    from aedo.search.transcribe import Transcriber

__version__ = "0.1.0"

# torch reads this at its first tensor: large ones begin at a page and lie on huge pages (`memory.py` says why).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def load(
    run: str | os.PathLike[str],
    *,
    checkpoint: str = "",
    device: str = "auto",
    beam: int | None = None,
    search: str = "",
    precision: str = "float32",
    cutting: Cutting | None = None,
    lm: str | os.PathLike[str] | None = None,
    lm_scale: float | None = None,
    hotwords: Sequence[str] = (),
    hotword_bias: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Transcriber:
    """A trained run, ready to transcribe: `aedo.load("runs/an4-...").transcribe("talk.mp3").text`.

    checkpoint: a label, `best` or `last`; by default the average at the training's end, else the best.  device: `auto`,
    `cpu`, `cuda` ...  beam: hypotheses kept, by default the experiment's.  search: `attention`, `joint`,
    `joint-time`, `ctc-prefix` or `ctc`, by default the experiment's.  precision: `float32`, `bfloat16` or `int8` (CPU).
    cutting: how long recordings are cut.  lm: a language model (a folder of `aedo train-lm`, or an ARPA file), of the
    weight lm_scale.  hotwords: phrases to be heard more readily, each label of them by hotword_bias.  settings: any
    others of the search, by the names of `aedo.search.config.SearchConfig`.  Raises aedo.errors.UserError.
    """
    from pathlib import Path

    from aedo.search.load import load_transcriber

    given = dict(settings or {})
    given |= {} if lm is None else {"lm": os.fspath(lm)}
    given |= {"hotwords": tuple(hotwords)} if hotwords else {}
    given |= {name: x for name, x in (("lm_scale", lm_scale), ("hotword_bias", hotword_bias)) if x is not None}
    return load_transcriber(
        Path(run),
        checkpoint=checkpoint,
        device=device,
        beam=beam,
        search=search,
        precision=precision,
        cutting=cutting,
        settings=given,
    )
