"""Which parameters decay, and how much: the rules of weight decay and the optimizer's groups that follow from them.

First it is asked whether a parameter decays at all (`matrices_only`, `readout`, `exclude`; biases never do), then how
much (`rules`, `encoder` and `decoder`, `value`).
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import AfterValidator, Field
from torch import nn

from aedo.config import Part
from aedo.errors import UserError
from aedo.nn.lstm import ZoneoutLstm
from aedo.nn.norms import MaskedBatchNorm
from aedo.nn.positions import RelativePositionTable
from aedo.nn.qk_norm import L2QKNorm
from aedo.schedule import Progress, Scheduled, value_at

ModuleKind = Literal["batch_norm", "layer_norm", "embedding", "relative_position"]
"""layer_norm: RMS norms too, which are layer norms without a mean, and norms of queries and keys."""


def _not_negative(value: Scheduled) -> Scheduled:
    values = (value,) if isinstance(value, (int, float)) else getattr(value, "values", (getattr(value, "value", 0.0),))
    if min(values) < 0:
        raise ValueError(f"weight decay must not be negative: {min(values):g}")
    return value


Amount = Annotated[Scheduled, AfterValidator(_not_negative)]


class DecayRule(Part):
    """The weight decay of some parameters by name."""

    parameters: str = Field(min_length=1)
    """Names, with * for any characters, ? for one: decoder.lstm.weight_*, encoder.layers.0.*."""
    value: Amount


class WeightDecayConfig(Part):
    value: Amount = 1e-6
    """Of every parameter that decays and about which the fields below say nothing else."""
    encoder: Amount | None = None
    """Of everything outside the decoder: front-end, Conformer and CTC heads.  None: `value`."""
    decoder: Amount | None = None
    """Of the decoder.  None: `value`."""
    rules: tuple[DecayRule, ...] = ()
    """Of parameters by name, before everything else; the first that matches counts."""
    matrices_only: bool = False
    """Only the matrices of linear layers and LSTMs decay: no convolution, norm, embedding or position table."""
    readout: bool = True
    """Whether the read-out of the LSTM decoder decays: the layer between its state and the output layer."""
    exclude: tuple[ModuleKind, ...] = ()
    """Kinds of modules whose parameters do not decay.  Biases never do (the shift of a BatchNorm is no bias here)."""

    @property
    def amounts(self) -> tuple[Scheduled, ...]:
        """All that are given."""
        given = (self.value, self.encoder, self.decoder, *(rule.value for rule in self.rules))
        return tuple(amount for amount in given if amount is not None)

    def build(self, model: nn.Module) -> WeightDecay:
        return WeightDecay(decays(model, self))


class Decay(NamedTuple):
    """What a parameter gets."""

    value: Scheduled
    why: str
    """The field that says so, or what spares the parameter: bias, embedding, no matrix, ..."""
    spared: bool = False


class Group(NamedTuple):
    """Parameters of the same weight decay."""

    value: Scheduled
    names: tuple[str, ...]
    """In the model's order."""


class WeightDecay:
    """The optimizer's groups, and their weight decay over the training.

    The schedules stay here: the optimizer's groups, and with them its state, hold plain numbers.
    """

    def __init__(self, by_name: dict[str, Decay]) -> None:
        found: dict[tuple[bool, Scheduled], list[str]] = {}
        for name, decay in sorted(by_name.items(), key=lambda item: item[1].spared):  # those that decay come first
            found.setdefault((decay.spared, decay.value), []).append(name)
        self.groups = [Group(value, tuple(names)) for (_, value), names in found.items()]

    def set(self, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Give the groups of an optimizer, built for these, the values of this point of the training."""
        for group, ours in zip(optimizer.param_groups, self.groups, strict=True):
            group["weight_decay"] = value_at(ours.value, progress)


def decays(model: nn.Module, config: WeightDecayConfig) -> dict[str, Decay]:
    """What every parameter of the model gets, in its order.

    Parameters called `bias` do not decay.  The shift of a BatchNorm does unless `batch_norm` is excluded: the original
    calls it beta, and its rule goes by the name.  UserError where a rule gives no parameter its value.
    Source: RETURNN, torch/updater.py.
    """
    found: dict[str, Decay] = {}
    for path, module in model.named_modules():
        for own, _ in module.named_parameters(recurse=False):
            name = f"{path}.{own}" if path else own
            reason = _spared(module, own, name, config)
            found[name] = Decay(0.0, reason, spared=True) if reason else _amount(name, config)
    _check_rules(config.rules, found.values())
    return {name: found[name] for name, _ in model.named_parameters()}


def _spared(module: nn.Module, own: str, name: str, config: WeightDecayConfig) -> str:
    """Why a parameter does not decay; empty where it does.  `own`: its name in the module."""
    kind = _kind(module)
    if own.startswith("bias") and kind != "batch_norm":  # nn.LSTM has several
        return "bias"
    if kind is not None and (kind in config.exclude or config.matrices_only):
        return kind.replace("_", " ")
    if config.matrices_only and not (isinstance(module, (nn.Linear, nn.RNNBase, ZoneoutLstm)) and "weight" in own):
        return "no matrix"
    if not config.readout and name.startswith("decoder.readout."):
        return "read-out"
    return ""


def _amount(name: str, config: WeightDecayConfig) -> Decay:
    for number, rule in enumerate(config.rules):
        if fnmatchcase(name, rule.parameters):
            return Decay(rule.value, _rule_name(number, rule))
    side = "decoder" if name.startswith("decoder.") else "encoder"
    own: Scheduled | None = getattr(config, side)
    return Decay(config.value, "value") if own is None else Decay(own, side)


def _rule_name(number: int, rule: DecayRule) -> str:
    return f"rules[{number}] {rule.parameters}"


def _check_rules(rules: Iterable[DecayRule], given: Iterable[Decay]) -> None:
    used = {decay.why for decay in given}
    for number, rule in enumerate(rules):
        if _rule_name(number, rule) not in used:
            raise UserError(
                f"train.optimizer.weight_decay.rules[{number}]: no parameter gets its weight decay from "
                f"{rule.parameters!r}: none that decays has such a name, or earlier rules have them all; "
                "mend or remove it (aedo recipes NAME --parameters lists the names)"
            )


def _kind(module: nn.Module) -> ModuleKind | None:
    if isinstance(module, MaskedBatchNorm):
        return "batch_norm"
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm, L2QKNorm)):
        return "layer_norm"
    if isinstance(module, RelativePositionTable):  # an nn.Embedding too: asked first
        return "relative_position"
    if isinstance(module, nn.Embedding):
        return "embedding"
    return None
