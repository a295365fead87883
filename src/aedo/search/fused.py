"""What a run's search needs beside the model, from the disk: language model, prior, context phrases."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aedo.errors import UserError
from aedo.files import sha256
from aedo.lm.load import load_lm
from aedo.run import Checkpoint, RunFolder
from aedo.search.config import OF_DECODER, Kind, SearchConfig
from aedo.search.fusion import Fusion
from aedo.search.hotwords import phrase_automaton
from aedo.search.prior import prior_of
from aedo.search.recognize import Recognizer


def fusion_for(recognizer: Recognizer, run: RunFolder, checkpoint: Checkpoint) -> Fusion:
    """As the recogniser's configuration asks for it.  The prior is computed where it is not there yet.

    UserError where a file is missing or of another tokenizer, a phrase cannot be spelled, or there is no data to
    compute a prior from.
    """
    config, kind, tokenizer = recognizer.config, recognizer.kind, recognizer.tokenizer
    if recognizer.model.streaming is not None and kind in OF_DECODER:
        refuse_in_chunks(config, kind)
    return Fusion(
        load_lm(Path(config.lm), tokenizer) if config.lm is not None and config.uses("lm", kind) else None,
        prior_of(recognizer, run, checkpoint) if config.uses("prior", kind) else None,
        phrase_automaton(config.hotwords, tokenizer) if config.uses("hotwords", kind) else None,
    )


def refuse_in_chunks(config: SearchConfig, kind: Kind) -> None:
    """The decoder of a streaming model is searched chunk by chunk, with nothing beside it but CTC."""
    given = {"lm": config.uses("lm", kind) and config.lm_use == "search"}
    given |= {"hotwords": config.uses("hotwords", kind), "prior_scale": config.uses("prior", kind)}
    for name, used in given.items():
        if used:
            more = ", or lm_use=lists for its final lists" if name == "lm" else ""
            raise UserError(
                f"{name}: a streaming model's decoder is searched chunk by chunk without it: --search ctc-prefix{more}"
            )


def lm_digest(config: SearchConfig, kind: Kind) -> dict[str, str]:
    """Names the exact language model, where one has a say: beside its path, what results are known by."""
    if config.lm is None or not config.uses("lm", kind):
        return {}
    path = Path(config.lm)
    files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
    if not path.exists():
        raise UserError(f"{path}: no such language model; give a folder that aedo train-lm wrote, or an ARPA file")
    content = "".join(sha256(file) for file in files)
    return {"lm_digest": hashlib.sha256(content.encode()).hexdigest()[:16]}
