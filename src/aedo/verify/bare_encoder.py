"""Folders of an encoder alone: features in, layers out; for now of the E-Branchformer.

B batch, T frames, F features, D features of the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from aedo.errors import UserError
from aedo.interop import infer
from aedo.interop.match import Misfits
from aedo.interop.returnn import Transform, plain_name
from aedo.model.ebranchformer import EBranchformerConfig
from aedo.model.encoder import Encoded
from aedo.nn.init import linear
from aedo.nn.masks import length_mask
from aedo.verify.arrays import frames_check, norms_check, value_check
from aedo.verify.check import GRADIENT, VALUE, Check
from aedo.verify.describe import Description, check_gating, compare
from aedo.verify.folder import Array, GoldenFolder, arrays_of
from aedo.verify.load import equal, state_of
from aedo.verify.training import TINY, without_randomness

PREFIX = "encoder."
"""In a whole model's checkpoint it stands in front of the names."""
STATED = {
    "dim": "dim",
    "num_layers": "layers",
    "num_heads": "attention.heads",
    "ff_dim": "feed_forward.dim",
    "cgmlp.hidden_per_half": "gating.dim",
    "cgmlp.kernel": "gating.kernel",
    "merge_conv_kernel": "merge_kernel",
}
"""What config.json and the checkpoint both say: its field, and ours."""
INSIDE = {"ffn1": "ff1", "self_att": "attention", "cgmlp": "gating", "merge": "merge", "ffn2": "ff2"}
"""Parts of a block, by their names in the folder."""


class BareEncoder(nn.Module):
    """A projection of the features, and the encoder."""

    def __init__(self, features: int, config: EBranchformerConfig) -> None:
        super().__init__()
        self.projection, self.encoder = linear(features, config.dim, bias=False), config.build()

    def forward(self, features: Tensor, lengths: Tensor) -> Encoded:
        """[B, T, F], lengths [B] on the CPU; with the outputs of all layers."""
        layers = tuple(range(1, len(self.encoder.layers) + 1))
        encoded: Encoded = self.encoder(self.projection(features), lengths, layers)
        return encoded

    def foreign_name(self, name: str) -> tuple[str, Transform]:
        """The folder's name of a parameter, and the change of layout between the two."""
        foreign, transform = plain_name(name if name.startswith(PREFIX) else f"frontend.{name}")
        return foreign.removeprefix(PREFIX), transform


class BareInputs(NamedTuple):
    features: Tensor
    """[B, T, F] float32."""
    lengths: Tensor
    """[B] int64."""
    weights: Tensor | None
    """[B, T, D] of the outputs in the loss, where the folder has one."""

    @property
    def mask(self) -> Tensor:
        return length_mask(self.lengths, self.features.shape[1], self.features.device)


def is_one(config: Mapping[str, Any]) -> bool:
    """Whether config.json describes an E-Branchformer alone."""
    return {"feature_dim", "num_layers", "cgmlp"} <= config.keys()


def checks(folder: GoldenFolder) -> Iterator[Check]:
    """UserError where the folder's model is not one of ours, or its arrays do not fit."""
    state = state_of(folder.checkpoint)
    config = _config(folder, state)
    model = _loaded(config, state, str(folder.checkpoint))
    exported = {name: transform(value) for (name, transform), value in _renamed(model)}
    yield equal("exported again", exported, state, 0.0)
    inputs, reference = _inputs(folder, model.projection.in_features), folder.outputs
    with torch.no_grad():
        yield from _outputs(model.eval(), inputs, reference)
        for name in reference:
            version = re.fullmatch(r"bv(\d+)/out", name)
            if version:
                padding = infer.padding_of(infer.Unseen(int(version[1])))
                other = _loaded(config.with_("padding", padding), state, str(folder.checkpoint)).eval()
                yield frames_check(
                    "encoder", name, other(inputs.features, inputs.lengths).states, reference, inputs.mask
                )
    yield from _training(without_randomness(model), inputs, reference)


def _config(folder: GoldenFolder, state: Mapping[str, Tensor]) -> EBranchformerConfig:
    where = str(folder.path / "config.json")
    said = Description(folder.config, where)
    check_gating(said)
    unseen = infer.Unseen(said.get("behavior_version", int), said.activation("ff_activation"))
    try:
        config = EBranchformerConfig.model_validate(infer.encoder_fields(infer.Shapes(state, where), unseen, ""))
    except ValidationError as error:
        raise said.refuse(f"{error.errors()[0]['msg']}") from None
    except UserError as error:
        raise said.refuse(str(error).removeprefix(f"{where}: ")) from None
    stated = config.with_("gating.dim", config.gating.dim or 3 * config.dim)
    compare(said, stated, STATED)
    return config


def _loaded(config: EBranchformerConfig, state: Mapping[str, Tensor], where: str) -> BareEncoder:
    """UserError lists everything missing, left over or misshaped."""
    features, _ = infer.Shapes(state, where).of("input_projection.weight", 2)
    model, values, misfits = BareEncoder(features, config), {}, Misfits()
    left = dict(state)
    for (name, transform), value in _renamed(model):
        given = left.pop(name, None)
        if given is None or transform(value).shape != given.shape:
            misfits.missing[name] = tuple(transform(value).shape)
            continue
        values[name] = transform(given)
    misfits.left_over = {name: tuple(value.shape) for name, value in left.items()}
    misfits.raise_any(where)
    model.load_state_dict({name: values[model.foreign_name(name)[0]] for name in model.state_dict()})
    return model


def _renamed(model: BareEncoder) -> Iterator[tuple[tuple[str, Transform], Tensor]]:
    for name, value in model.state_dict().items():
        yield model.foreign_name(name), value


def _inputs(folder: GoldenFolder, dim: int) -> BareInputs:
    path = folder.path / "inputs.npz"
    arrays = arrays_of(path)
    missing = [name for name in ("features", "features_len") if name not in arrays]
    if missing:
        raise UserError(f"{path}: {', '.join(missing)} missing; an encoder alone reads features")
    features, lengths = (
        torch.from_numpy(arrays["features"]).float(),
        torch.from_numpy(arrays["features_len"]).long(),
    )
    if features.ndim != 3 or features.shape[2] != dim or lengths.shape != features.shape[:1] or not len(lengths):
        raise UserError(f"{path}: features must be [B, T, {dim}] with B lengths, not {list(features.shape)}")
    if int(lengths.min()) < 1 or int(lengths.max()) > features.shape[1]:
        raise UserError(f"{path}: features_len must lie between 1 and the {features.shape[1]} frames of features")
    weights = torch.from_numpy(arrays["loss_weights"]).float() if "loss_weights" in arrays else None
    return BareInputs(features, lengths, weights)


def _outputs(model: BareEncoder, inputs: BareInputs, reference: Mapping[str, Array]) -> Iterator[Check]:
    """Every layer, the parts of blocks, and each utterance alone."""
    with _recording(model) as recorded:
        encoded = model(inputs.features, inputs.lengths)
    values = {f"layer_{number}": states for number, states in encoded.layers.items()}
    for name, states in {**values, **recorded, "out": encoded.states}.items():
        if name in reference:
            yield frames_check("encoder", name, states, reference, inputs.mask)
    for row, length in enumerate(inputs.lengths.tolist()):
        if f"single_{row}/out" in reference:
            alone = model(inputs.features[row : row + 1, :length], inputs.lengths[row : row + 1])
            yield frames_check("encoder, alone", f"single_{row}/out", alone.states, reference, alone.mask)


@contextmanager
def _recording(model: BareEncoder) -> Iterator[dict[str, Tensor]]:
    """Hooks that keep what the parts of all blocks give out."""
    recorded: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, __, output: recorded.update({name: output})

    handles = [
        getattr(layer, ours).register_forward_hook(keep(f"layer_{number}/{theirs}"))
        for number, layer in enumerate(model.encoder.layers, start=1)
        for theirs, ours in INSIDE.items()
    ]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _training(model: BareEncoder, inputs: BareInputs, reference: Mapping[str, Array]) -> Iterator[Check]:
    """Outputs in training mode, the loss, and its gradients."""
    states = model(inputs.features, inputs.lengths).states
    if "train/out" in reference:
        yield frames_check("encoder, training", "train/out", states, reference, inputs.mask)
    if inputs.weights is None or inputs.weights.shape != states.shape:
        return
    loss = (states * inputs.weights)[inputs.mask].sum() / (int(inputs.lengths.sum()) * states.shape[2])
    if "train_loss" in reference:
        yield value_check("losses, training", "train_loss", loss, reference, VALUE)
    ours: dict[str, Tensor] = {}
    for name, gradient in zip(dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters()))):
        foreign, transform = model.foreign_name(name)
        ours[foreign] = transform(gradient)
    largest = max(float(gradient.double().norm()) for gradient in ours.values())
    if {"grad_norms_names", "grad_norms_normalized"} <= reference.keys():
        yield norms_check(ours, reference, "grad_norms_normalized", largest)
    if "grad_global_norm_normalized" in reference:
        total = torch.stack([gradient.double().square().sum() for gradient in ours.values()]).sum().sqrt()
        yield value_check("gradients", "grad_global_norm_normalized", total, reference, GRADIENT)
    for name, gradient in ours.items():
        if f"grad/{name}" in reference:
            yield value_check("gradients", f"grad/{name}", gradient, reference, GRADIENT, TINY / GRADIENT * largest)
