"""Checkpoints: folders that appear whole or not at all, and from which training goes on bit for bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from aedo.errors import UserError
from aedo.files import explained, new_folder, remove_folder, temporary_folder
from aedo.run import Checkpoint, RunFolder
from aedo.train.config import KeepConfig
from aedo.train.distributed import ALONE, Ranks
from aedo.train.keep import kept_epochs

FORMAT = 1


def epoch_label(epoch: int) -> str:
    return f"epoch-{epoch:04d}"


def step_label(micro_step: int) -> str:
    return f"step-{micro_step:09d}"


def write_checkpoint(
    checkpoint: Checkpoint,
    model: nn.Module | dict[str, torch.Tensor],
    state: dict[str, Any] | None,
    ranks: Ranks = ALONE,
) -> None:
    """Write weights, description and (where training can go on from here) state; UserError where the disk refuses.

    Of several ranks each adds its own state; the folder appears when all have.
    """
    weights = model.state_dict() if isinstance(model, nn.Module) else model
    doing, afterwards = (
        f"write the checkpoint {checkpoint.label}",
        "then run the same command: it goes on from the one before",
    )
    if not ranks.main:
        ranks.wait()  # for the folder
        with explained(checkpoint.folder, doing, afterwards):
            _write_state(temporary_folder(checkpoint.folder) / checkpoint.state_of(ranks.rank).name, state or {})
        ranks.wait()  # for the others
        ranks.wait()  # for the folder's name
        return
    with explained(checkpoint.folder, doing, afterwards), new_folder(checkpoint.folder) as folder:
        ranks.wait()
        tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        (folder / checkpoint.weights.name).write_bytes(safetensors_bytes(tensors))
        (folder / "checkpoint.json").write_text(checkpoint.describe(), encoding="utf-8")
        if state is not None:
            _write_state(folder / checkpoint.state.name, state)
        ranks.wait()
    ranks.wait()


def _write_state(path: Path, state: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        torch.save({"format": FORMAT, **state, "random": random_states()}, file)


def read_state(checkpoint: Checkpoint, rank: int = 0) -> dict[str, Any]:
    """The training state of a checkpoint (of one of the devices); no code in it is run."""
    path = checkpoint.state_of(rank)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path}: not a readable training state ({error}); remove {checkpoint.folder} to go on from an older one"
        ) from None
    if state.get("format") != FORMAT:
        raise UserError(f"{path}: written by another version of aedo (format {state.get('format')}, not {FORMAT})")
    return state


def tidy(run: RunFolder, epochs: int, config: KeepConfig) -> None:
    """Remove the checkpoints that nothing needs any more; only the newest one keeps the state to train on."""
    newest = run.resumable()
    with explained(run.checkpoint_folder, "remove old checkpoints"):
        for folder in run.checkpoint_folder.glob("step-*"):
            if newest is None or folder != newest.folder:
                remove_folder(folder)
        done = {checkpoint.epoch: checkpoint for checkpoint in run.checkpoints() if not checkpoint.averaged}
        kept = kept_epochs({epoch: checkpoint.scores for epoch, checkpoint in done.items()}, epochs, config)
        for epoch, checkpoint in done.items():
            if newest is not None and checkpoint.folder == newest.folder:
                continue
            if epoch not in kept:
                remove_folder(checkpoint.folder)
            elif newest is not None:
                checkpoint.state.unlink(missing_ok=True)
                for path in checkpoint.folder.glob("state-rank*.pt"):
                    path.unlink()


def random_states() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators, of plain types and tensors only."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    kind, keys, *rest = states["numpy"]
    random.setstate(states["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def weights_size(model: nn.Module) -> int:
    """Bytes of the weights of a checkpoint."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())
