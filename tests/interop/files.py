"""Checkpoints in the form of RETURNN's PyTorch engine, from the weights of the golden folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from aedo.interop.infer import Unseen
from aedo.model.aed import AED
from aedo.verify.folder import GoldenFolder

FOLDER = Path(__file__).parent.parent / "golden" / "data" / "models"
NAMES = ("base", "zoneout-out", "layernorm", "relpos-xl", "enc-default", "ctc-only", "trafo-dec", "large")
UNSEEN = {
    "zoneout-out": Unseen(zoned_output=True),
    "enc-default": Unseen(activation="swish", settings=["encoder.convolution.norm.masked=false"]),
    "ctc-only": Unseen(behavior_version=21),
    "large": Unseen(behavior_version=24, settings=["encoder.convolution.norm.masked=false"]),
}
"""What the shapes of these do not show, where it is not the default."""


def state_of(name: str) -> dict[str, Tensor]:
    return dict(load_file(FOLDER / name / "checkpoint.safetensors"))


def write_checkpoint(path: Path, name: str = "base", **changes: Any) -> Path:
    content = {"model": state_of(name), "epoch": 7, "step": 12345, "effective_learning_rate": 3e-4, **changes}
    torch.save(content, path)
    return path


def config_of(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((FOLDER / name / "config.json").read_text())
    return config


def arrays_of(name: str, which: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / name / f"{which}.npz", allow_pickle=False) as file:
        return dict(file)


def outputs_of(model: AED, name: str) -> dict[str, np.ndarray]:
    """Our encoder states, CTC log-probabilities of the last head and decoder logits on the folder's inputs."""
    inputs = GoldenFolder.open(FOLDER / name).inputs
    ids = inputs.labels.with_eos().ids
    with torch.no_grad():
        outputs = model(model.features(inputs.audio, inputs.lengths), inputs.labels)
        found = {"enc": outputs.encoded.states.numpy(), "enc_len": outputs.encoded.lengths.numpy()}
        if model.ctc_layers:
            found["ctc"] = model.ctc_log_probs(outputs.encoded).numpy()
        if outputs.decoder is not None:
            logits = torch.zeros(*ids.shape, outputs.decoder.logits.shape[-1])
            logits[outputs.decoder.packing.rows, outputs.decoder.packing.positions] = outputs.decoder.logits
            found["dec_logits"] = logits.numpy()
    return found


def difference(ours: np.ndarray, expected: np.ndarray, lengths: np.ndarray) -> float:
    """Largest difference on valid positions, relative to the largest magnitude there."""
    rows = [(a[:n], b[:n]) for a, b, n in zip(ours, expected, lengths.tolist())]
    largest = max(float(np.abs(b).max()) for _, b in rows)
    return max(float(np.abs(a - b).max()) for a, b in rows) / largest
