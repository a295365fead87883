"""The model of a folder with its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.interop.returnn import import_state
from aedo.model.aed import AED
from aedo.run import load_weights
from aedo.verify.describe import experiment_of
from aedo.verify.folder import GoldenFolder


def load(folder: GoldenFolder) -> tuple[Experiment, AED]:
    """UserError where the weights do not fit the description, or aedo has no such model."""
    state = _state(folder)
    experiment = experiment_of(folder.config, state, str(folder.path / "config.json"))
    experiment = experiment.with_("ctc.eos", folder.inputs.eos)
    model = experiment.build_model(experiment.tokenizer.size)
    import_state(state, model)
    return experiment, model


def _state(folder: GoldenFolder) -> dict[str, Tensor]:
    path = folder.checkpoint
    if path.suffix == ".safetensors":
        return load_weights(path, None)
    try:
        state: dict[str, Tensor] = torch.load(path, weights_only=True)["model"]
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]})") from None
    return state
