"""Folders of a Transformer language model: labels in, every layer, probabilities, perplexity and gradients out.

B sequences, U labels with EOS, D features, V labels of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from aedo.conventions import EOS
from aedo.errors import UserError
from aedo.interop.returnn_lm import export_lm_state, import_lm_state, lm_config, lm_name
from aedo.lm.transformer_lm import TransformerLM, TransformerLmConfig
from aedo.losses.cross_entropy import cross_entropy
from aedo.model.labels import Labels
from aedo.nn.masks import length_mask
from aedo.verify.arrays import frames_check, norms_check, value_check
from aedo.verify.check import GRADIENT, VALUE, Check
from aedo.verify.describe import Description
from aedo.verify.describe_parts import numbers
from aedo.verify.folder import Array, GoldenFolder, arrays_of
from aedo.verify.load import equal, state_of
from aedo.verify.training import TINY, without_randomness

_PLAIN = {
    "bos_idx": EOS,
    "eos_idx": EOS,
    "pos_enc": None,
    "cross_att": None,
    "shared_embedding": True,
    "logits_bias": False,
}
"""What config.json must say where it says anything."""
_NORM_EPS = 1e-6


def is_one(config: Mapping[str, Any]) -> bool:
    """Whether config.json describes a decoder without encoder."""
    return {"num_layers", "dim", "num_heads", "ff"} <= config.keys() and config.get("cross_att") is None


def checks(folder: GoldenFolder) -> Iterator[Check]:
    """UserError where the folder's model is not one of ours, or its arrays do not fit."""
    state, where = state_of(folder.checkpoint), str(folder.checkpoint)
    model = import_lm_state(state, _config(folder, state), where)
    yield equal("exported again", export_lm_state(model), state, 0.0)
    labels, reference = _labels(folder, model.vocabulary), folder.outputs
    with torch.no_grad():
        yield from _outputs(model, labels, reference)
        yield from _steps(model, labels, reference)
    yield from _training(without_randomness(model), labels, reference)


def _config(folder: GoldenFolder, state: Mapping[str, Tensor]) -> TransformerLmConfig:
    where = str(folder.path / "config.json")
    said = Description(folder.config, where)
    for name, value in _PLAIN.items():
        if folder.config.get(name, value) != value:
            raise said.refuse(f"{name} is {folder.config[name]!r}, expected {value!r}")
    norm, ff, attention = (str(folder.config.get(name, "")) for name in ("norm", "ff", "self_att"))
    if not norm.startswith("RMSNorm") or numbers(norm, "eps").get("eps", _NORM_EPS) != _NORM_EPS:
        raise said.refuse(f"norm is {norm!r}, expected RMSNorm eps {_NORM_EPS:g}")
    if "gated" not in ff or "rotary" not in attention:
        raise said.refuse(f"ff is {ff!r}, self_att {attention!r}, expected a gated network and rotary attention")
    config = lm_config(state, str(folder.checkpoint), [f"heads={said.get('num_heads', int)}"])
    for name, ours in (("num_layers", config.layers), ("dim", config.dim)):
        if said.get(name, int) != ours:
            raise said.refuse(f"{name} is {said.get(name, int)}, the checkpoint has {ours}")
    return config


def _labels(folder: GoldenFolder, vocabulary: int) -> Labels:
    """With EOS."""
    path = folder.path / "inputs.npz"
    arrays = arrays_of(path)
    missing = [name for name in ("targets", "targets_len") if name not in arrays]
    if missing:
        raise UserError(f"{path}: {', '.join(missing)} missing; a language model reads labels")
    ids, lengths = torch.from_numpy(arrays["targets"]).long(), torch.from_numpy(arrays["targets_len"]).long()
    if ids.ndim != 2 or lengths.shape != ids.shape[:1] or not len(ids) or int(lengths.max()) > ids.shape[1]:
        raise UserError(f"{path}: targets must be [B, U] with B lengths, not {list(ids.shape)}, {list(lengths.shape)}")
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise UserError(f"{path}: targets must lie between 0 and {vocabulary - 1}")
    ids = ids[:, : int(lengths.max())]
    return Labels(ids.masked_fill(~length_mask(lengths, ids.shape[1], ids.device), EOS), lengths).with_eos()


def _outputs(model: TransformerLM, labels: Labels, reference: Mapping[str, Array]) -> Iterator[Check]:
    """All labels at once."""
    mask = length_mask(labels.lengths, labels.ids.shape[1], labels.ids.device)
    layers = model.layer_outputs(labels.ids)
    logits = model.read_out(layers[-1])
    each = logits.log_softmax(-1).gather(-1, labels.ids[..., None])[..., 0]  # [B, U]
    total = each.where(mask, 0.0).sum(1)
    inputs = torch.nn.functional.pad(labels.ids[:, :-1], (1, 0), value=EOS)
    found: dict[str, Tensor] = {"input_labels": inputs, "targets_with_eos": labels.ids}
    found |= {f"layer_{number}": states for number, states in enumerate(layers, 1)}
    found |= {"logits": logits, "log_prob_per_token": each}
    for name, states in found.items():
        if name in reference:
            yield frames_check("language model", name, states, reference, mask)
    count = int(labels.lengths.sum())
    wrong = (logits.argmax(-1) != labels.ids)[mask].double()
    sums = {
        "targets_with_eos_len": labels.lengths,
        "log_prob_per_seq": total,
        "loss_sum_ce": -total.sum(),
        "loss_mean_ce": -total.sum() / count,
        "loss_mean_fer": wrong.mean(),
        "perplexity": torch.tensor(math.exp(-float(total.double().sum()) / count)),
    }
    for name, value in sums.items():
        if name in reference:
            yield value_check("language model", name, value, reference, VALUE)


def _steps(model: TransformerLM, labels: Labels, reference: Mapping[str, Array]) -> Iterator[Check]:
    """Label by label, as in a search: all sequences side by side, and the likeliest sequence without any."""
    scorer = model.scorer(len(labels.ids), labels.ids.device)
    scores, state = scorer.step(None, scorer.start())
    total = torch.zeros(len(labels.ids))
    for position, column in enumerate(labels.ids.T):
        total += scores[:, 0].gather(1, column[:, None])[:, 0].where(position < labels.lengths, 0.0)
        scores, state = scorer.step(column[:, None], state)
    if "log_prob_per_seq" in reference:
        check = value_check("label by label", "log_prob_per_seq", total, reference, VALUE)
        yield check
    if "greedy" not in reference:
        return
    scores, state = (scorer := model.scorer(1, labels.ids.device)).step(None, scorer.start())
    chosen: list[int] = []
    for _ in range(len(reference["greedy"])):
        chosen.append(int(scores.argmax()))
        scores, state = scorer.step(torch.tensor([[chosen[-1]]]), state)
    yield value_check("label by label", "greedy", torch.tensor(chosen), reference, 0.0)


def _training(model: TransformerLM, labels: Labels, reference: Mapping[str, Array]) -> Iterator[Check]:
    """Both totals, and all gradients."""
    output = model(labels)
    losses = cross_entropy(output.logits, output.targets, 0.0)
    parameters = dict(model.named_parameters())
    for kind, loss in (("unnormalized", losses.sum()), ("normalized", losses.mean())):
        if f"train_total_loss_{kind}" in reference:
            yield value_check("losses, training", f"train_total_loss_{kind}", loss, reference, VALUE)
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
        ours = {}
        for name, gradient in zip(parameters, gradients):
            foreign, transform = lm_name(name)
            ours[foreign] = transform(gradient)
        largest = max(float(gradient.double().norm()) for gradient in ours.values())
        if {"grad_norms_names", f"grad_norms_{kind}"} <= reference.keys():
            yield norms_check(ours, reference, f"grad_norms_{kind}", largest)
        if f"grad_global_norm_{kind}" in reference:
            total = torch.stack([gradient.double().square().sum() for gradient in ours.values()]).sum().sqrt()
            yield value_check("gradients", f"grad_global_norm_{kind}", total, reference, GRADIENT)
    for name, gradient in ours.items():  # of the mean
        if f"grad/{name}" in reference:
            yield value_check("gradients", f"grad/{name}", gradient, reference, GRADIENT, TINY / GRADIENT * largest)
