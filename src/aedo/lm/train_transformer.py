"""A Transformer language model from texts to its folder.

OUT/ while it trains
  training.json        all settings and what the texts were: a training goes on with the very same ones only
  checkpoints/         weights, and where training can go on
  log.jsonl, steps.jsonl, tensorboard/
and in the end the language model, that is its epoch with the lowest perplexity on the held-out text (aedo.lm.load).
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aedo.errors import UserError
from aedo.files import explained, new_folder, write_text
from aedo.lm.load import DESCRIPTION, SETTINGS, Description, write_transformer
from aedo.lm.perplexity import Perplexity, perplexity_of
from aedo.lm.texts import Recogniser, Texts
from aedo.lm.trainer import LmSettings, LmTrainConfig, LmTrainer
from aedo.run import RunFolder, load_weights


def train_transformer(
    recogniser: Recogniser,
    texts: Texts,
    config: LmTrainConfig,
    out: Path,
    about: dict[str, Any],
    settings: LmSettings,
    stopped: Callable[[], bool],
) -> Perplexity | None:
    """Of the finished model on the held-out text; None where it was stopped on request, after saving.

    UserError where `out` holds something else, or another training.
    """
    run = RunFolder(out)
    identity = _identity(recogniser, texts, config)
    with run.lock():
        _set_up(run, recogniser, identity)
        if not (out / DESCRIPTION).exists():
            if not LmTrainer(run, recogniser.tokenizer.size, texts, config, settings).train(stopped):
                return None
            _finish(run, recogniser, texts, config, about)
        measured = Description.read(out).about["perplexity"]
    per_label = math.log(measured["per_label"])
    return Perplexity(-per_label * measured["labels"], measured["labels"], measured["words"], measured["sentences"])


def _identity(recogniser: Recogniser, texts: Texts, config: LmTrainConfig) -> dict[str, Any]:
    """The contents of training.json."""
    digests = []
    for sentences in (texts.train, texts.held_out):
        content = hashlib.sha256(sentences.lengths.tobytes())
        content.update(sentences.labels.tobytes())
        digests.append(content.hexdigest()[:16])
    return {
        "config": config.model_dump(mode="json"),
        "tokenizer_digest": recogniser.tokenizer.digest,
        "train": digests[0],
        "held_out": digests[1],
    }


def _set_up(run: RunFolder, recogniser: Recogniser, identity: dict[str, Any]) -> None:
    path = run.path / SETTINGS
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before != identity:
            different = ", ".join(_different(before, identity))
            raise UserError(
                f"{run.path}: holds a training with other settings ({different}); give the same ones to go on with it, "
                "or choose another -o"
            )
        return
    if {entry.name for entry in run.path.iterdir()} - {"lock"}:
        raise UserError(f"{run.path}: holds something else; choose another -o")
    with explained(run.path, "write the settings"):
        with new_folder(run.tokenizer_folder) as folder:
            shutil.copytree(recogniser.folder, folder, dirs_exist_ok=True)
        write_text(path, json.dumps(identity, indent=1) + "\n")


def _different(before: Any, now: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            yield from _different(before.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif before != now:
        yield f"{path.removeprefix('config.')}: {before} there, {now} here"


def _finish(run: RunFolder, recogniser: Recogniser, texts: Texts, config: LmTrainConfig, about: dict[str, Any]) -> None:
    """Write the best epoch's weights as the language model."""
    best = run.checkpoint("best")
    model = config.model.build(recogniser.tokenizer.size)
    model.load_state_dict(load_weights(best.weights, model.state_dict()))
    measured = perplexity_of(model.eval(), texts.held_out)
    about = {
        **about,
        "training": config.model_dump(mode="json", exclude={"model"}),
        "epoch": best.epoch,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "perplexity": measured.record(),
    }
    with explained(run.path, "write the language model"):
        write_transformer(run.path, model, config.model, recogniser.tokenizer.digest, about)
