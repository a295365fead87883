"""Transformer language models in RETURNN's PyTorch checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from aedo.errors import UserError
from aedo.files import explained, new_folder, sha256
from aedo.interop.checkpoint_file import ForeignCheckpoint
from aedo.interop.infer import Shapes
from aedo.interop.returnn import Transform, fitted, layout
from aedo.interop.returnn_transformer import renamed
from aedo.interop.vocabulary import write_tokenizer
from aedo.lm.load import Description, write_transformer
from aedo.lm.transformer_lm import TransformerLM, TransformerLmConfig

_COPIES = {"logits.weight": "input_embedding.weight"}
_HEADS = 8


def is_language_model(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a decoder without an encoder."""
    return "input_embedding.weight" in state and not any(name.startswith(("encoder.", "decoder.")) for name in state)


def lm_name(name: str) -> tuple[str, Transform]:
    """RETURNN's name of a parameter of ours, and the change of layout (its own inverse)."""
    found = renamed(name)
    if found is None:
        raise UserError(f"{name}: this parameter has no counterpart in RETURNN's checkpoints")
    return found[0], layout(found[1])


def lm_config(state: Mapping[str, Tensor], where: str, settings: Sequence[str] = ()) -> TransformerLmConfig:
    """The sizes of a language model; `settings` (FIELD=VALUE) for what shapes do not show, first of all the heads."""
    shapes = Shapes(state, where)
    _, dim = shapes.of("input_embedding.weight", 2)
    layers = sum(name.startswith("layers.") and name.endswith(".self_att.qkv.weight") for name in state)
    hidden = shapes.of("layers.0.ff.linear_out.weight", 2)[0]
    fields: dict[str, Any] = {
        "layers": layers,
        "dim": dim,
        "heads": _HEADS,
        "feed_forward": {"dim": hidden, "activation": "swiglu", "bias": False},
    }
    try:
        config = TransformerLmConfig.model_validate(fields | _given(settings))
    except ValidationError as error:
        hint = "" if settings else "; --set heads=N says how many heads it has"
        raise UserError(f"{where}: {error.errors()[0]['msg']}{hint}") from None
    return config


def import_lm_state(state: Mapping[str, Tensor], config: TransformerLmConfig, where: str) -> TransformerLM:
    """The model with these weights.  UserError lists everything missing, left over or misshaped."""
    model = config.build(Shapes(state, where).of("input_embedding.weight", 2)[0])
    model.load_state_dict(fitted(state, model.state_dict(), lm_name, _COPIES, where))
    return model.eval()


def export_lm_state(model: TransformerLM) -> dict[str, Tensor]:
    """Parameters under RETURNN's names and in its layouts."""
    exported = {}
    for name, value in model.state_dict().items():
        foreign, transform = lm_name(name)
        exported[foreign] = transform(value.detach().cpu()).contiguous().clone()
    return exported | {copy: exported[original].clone() for copy, original in _COPIES.items()}


def import_lm(
    source: ForeignCheckpoint, out: Path, settings: Sequence[str], vocabulary: Path | None, codes: Path | None
) -> Description:
    """The folder of a language model at `out`, made of foreign weights.

    All or nothing.  UserError where it exists, or anything does not fit.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; remove it or choose another -o")
    where = str(source.path)
    config = lm_config(source.state, where, settings)
    model = import_lm_state(source.state, config, where)
    with explained(out, "write the language model"), new_folder(out.absolute()) as folder:
        tokenizer = write_tokenizer(folder / "tokenizer", vocabulary, codes, model.vocabulary)
        about = {"imported": {"file": str(source.path.absolute()), "sha256": sha256(source.path), "step": source.step}}
        return write_transformer(folder, model, config, tokenizer.digest, about)


def _given(settings: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name != "heads":
            raise UserError(f"--set {setting}: of a language model, heads=N can be set: shapes show the rest")
        try:
            given[name] = json.loads(value)
        except ValueError:
            raise UserError(f"--set {setting}: {value!r} is no number") from None
    return given
