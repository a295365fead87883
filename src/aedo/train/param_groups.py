"""Which parameters decay: groups for the optimizer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from aedo.config import Part
from aedo.nn.norms import MaskedBatchNorm
from aedo.nn.positions import RelativePositionTable

ModuleKind = Literal["batch_norm", "layer_norm", "embedding", "relative_position"]


class WeightDecayConfig(Part):
    value: float = Field(1e-6, ge=0)
    exclude: tuple[ModuleKind, ...] = ()
    """Kinds of modules whose parameters do not decay.  Biases never do (the shift of a BatchNorm is no bias here)."""


def decaying(model: nn.Module, config: WeightDecayConfig) -> tuple[list[str], list[str]]:
    """Names of the parameters that decay, and of those that do not, each in the model's order.

    Left out are parameters called `bias` and those of the excluded kinds of modules.  The shift of a BatchNorm decays
    unless `batch_norm` is excluded: the original calls it beta, and its rule goes by the name.  Source: RETURNN,
    torch/updater.py.
    """
    without: set[str] = set()
    for path, module in model.named_modules():
        kind = _kind(module)
        for name, _ in module.named_parameters(recurse=False):
            if kind in config.exclude or (name == "bias" and kind != "batch_norm"):
                without.add(f"{path}.{name}" if path else name)
    names = [name for name, _ in model.named_parameters()]
    return [name for name in names if name not in without], [name for name in names if name in without]


def _kind(module: nn.Module) -> ModuleKind | None:
    if isinstance(module, MaskedBatchNorm):
        return "batch_norm"
    if isinstance(module, nn.LayerNorm):
        return "layer_norm"
    if isinstance(module, RelativePositionTable):  # an nn.Embedding too: asked first
        return "relative_position"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return None
