"""Micro experiments for sweeps: files, which `aedo train` takes instead of names; no name means one so small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.train.micro import micro_experiment, write_data

VARIANTS: dict[str, dict[str, Any]] = {
    "micro": {},
    "micro-ls0": {"loss": {"label_smoothing": 0.0}},
    "micro-bad": {"train": {"learning_rate": {"kind": "constant", "value": 1e30}, "max_bad_steps": 1}},
    "micro-long": {"train": {"epochs": 200, "average_fraction": 0.01}},
    "micro-noctc": {"ctc": {"layers": []}},
}


def write(folder: Path) -> Path:
    """FOLDER/data and an experiment.json for each variant."""
    write_data(folder / "data")
    for name, tree in VARIANTS.items():
        whole = micro_experiment(epochs=1).model_dump(mode="json")
        for part, fields in tree.items():
            whole[part] |= fields
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "experiment": whole}))
    return folder
