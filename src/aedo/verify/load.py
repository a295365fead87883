"""The model of a folder with its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from aedo.experiment import Experiment
from aedo.interop import infer
from aedo.interop.checkpoint_file import read_checkpoint
from aedo.interop.returnn import export_state, import_state
from aedo.interop.returnn_tf import read_tf_checkpoint
from aedo.model.aed import AED
from aedo.run import load_weights
from aedo.verify.check import VALUE, Check, relative
from aedo.verify.describe import DIMS, Description, compare, experiment_of
from aedo.verify.folder import GoldenFolder


def load(folder: GoldenFolder) -> tuple[Experiment, AED]:
    """UserError where the weights do not fit the description, or aedo has no such model."""
    path = folder.checkpoint
    state = state_of(path)
    if folder.config:
        experiment = experiment_of(folder.config, state, str(folder.path / "config.json"))
    else:
        experiment = infer.experiment_of(state, infer.Unseen(), str(path))
        compare(Description(folder.dims, str(folder.path / "dims.json")), experiment, DIMS)
    experiment = experiment.with_("ctc.eos", folder.inputs.eos)
    model = experiment.build_model(experiment.tokenizer.size)
    import_state(state, model, str(path))
    return experiment, model


def weight_checks(folder: GoldenFolder, model: AED) -> Iterator[Check]:
    """The way back gives the very same checkpoint; of TensorFlow's, the original's own conversion if it is there."""
    exported, converted = export_state(model), folder.path / "checkpoint.pt"
    if folder.checkpoint.suffix != ".index":
        yield equal("exported again", exported, state_of(folder.checkpoint), 0.0)
    elif converted.is_file():
        yield equal("checkpoint.pt", exported, state_of(converted), VALUE)


def equal(station: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], bound: float) -> Check:
    """All of their tensors against ours; the one that differs most."""
    missing = sorted(set(theirs) - set(ours))
    if missing:
        return Check("weights", station, float("inf"), bound, f"missing: {', '.join(missing[:3])}")
    differences = {name: relative(ours[name], value)[0] for name, value in theirs.items()}
    worst = max(differences, key=lambda name: differences[name])
    note = f"{len(theirs)} tensors" if differences[worst] <= bound else f"worst: {worst}"
    return Check("weights", station, differences[worst], bound, note)


def state_of(path: Path) -> Mapping[str, Tensor]:
    """A state dict under RETURNN's names and in its layouts."""
    if path.suffix == ".index":
        return read_tf_checkpoint(path).state
    return load_weights(path, None) if path.suffix == ".safetensors" else read_checkpoint(path).state
