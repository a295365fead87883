"""Imported models as run folders, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from aedo.config import Part
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.files import explained, new_folder, sha256, sync_file, sync_folder
from aedo.interop.checkpoint_file import ForeignCheckpoint
from aedo.interop.infer import Unseen, experiment_of
from aedo.interop.returnn import convert_state, export_state
from aedo.interop.vocabulary import write_tokenizer
from aedo.run import Checkpoint, RunFolder
from aedo.train.checkpoint import epoch_label, write_checkpoint
from aedo.train.machine import start_record


def import_run(
    source: ForeignCheckpoint, out: Path, unseen: Unseen, vocabulary: Path | None = None, codes: Path | None = None
) -> RunFolder:
    """A run folder at `out` with one checkpoint, `epoch-NNNN`, made of foreign weights.

    All or nothing: `out` appears complete.  UserError where it exists, or anything does not fit.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; remove it or choose another -o")
    experiment = experiment_of(source.state, unseen, str(source.path))
    labels = experiment.tokenizer.size
    with torch.device("meta"):  # names and shapes are all that is needed
        model = experiment.build_model(labels)
    weights = convert_state(source.state, model, str(source.path))
    with explained(out, "write the run folder"), new_folder(out.absolute()) as folder:
        run = RunFolder(folder)
        tokenizer = write_tokenizer(run.tokenizer_folder, vocabulary, codes, labels)
        run.create(out.name, experiment, _info(source, tokenizer.digest, labels, model, vocabulary))
        label = epoch_label(source.epoch)
        checkpoint = Checkpoint(run.checkpoint_folder / label, label, source.epoch, source.step, 0)
        write_checkpoint(checkpoint, weights, None)
    return RunFolder(out)


def export_run(run: RunFolder, label: str, out: Path) -> dict[str, Any]:
    """Write a checkpoint of a run as a file that RETURNN's PyTorch engine loads; what it holds besides weights.

    All or nothing.  UserError where a parameter, or what is done without one, has no counterpart there.
    """
    if out.is_dir():
        raise UserError(f"{out}: a folder; give -o FILE.pt")
    unknown = _unknown_there(run.experiment())
    if unknown:
        raise UserError(f"{run.path}: {unknown}, so the file would not compute the same there")
    checkpoint = run.checkpoint(label)
    rates = {line["epoch"]: line.get("lr") for line in run.epochs()}
    position = {
        "epoch": checkpoint.epoch,
        "step": checkpoint.micro_step,
        "effective_learning_rate": rates.get(checkpoint.epoch),
    }
    content = {"model": export_state(run.load_model(label)), **position}
    temporary = out.with_name(f".{out.name}.tmp")
    with explained(out, "write the checkpoint"):
        try:
            with open(temporary, "wb") as file:
                torch.save(content, file)
            sync_file(temporary)
            temporary.replace(out)
            sync_folder(out.absolute().parent)
        finally:
            temporary.unlink(missing_ok=True)
    return position


def _unknown_there(experiment: Experiment) -> str:
    """What RETURNN's models of this family do not do though a file's names would not show it; empty if nothing."""
    normalize, encoder, decoder = experiment.features.normalize, experiment.encoder, experiment.decoder
    theirs = "RETURNN's models of this family"
    if normalize is not None and normalize.kind != "batch":
        return f"features.normalize is of kind {normalize.kind}; {theirs} only know running statistics (featbn)"
    if encoder.attention.position.kind in ("rotary", "none"):
        kind = encoder.attention.position.kind
        return f"encoder.attention.position is of kind {kind}; {theirs} have clipped or transformer_xl"
    if encoder.attention.qk_norm is not None:
        return f"encoder.attention.qk_norm is {encoder.attention.qk_norm}; {theirs} do not norm queries and keys"
    if encoder.kind == "conformer" and encoder.streaming is not None and not encoder.streaming.original:
        return f"encoder.streaming masks what {theirs} see as zeros (encoder.streaming.original is false)"
    if encoder.norm != "layer":
        return f"encoder.norm is {encoder.norm}; {theirs} have layer norms with a shift in the encoder"
    if decoder is not None and decoder.kind == "transformer" and decoder.norm == "layer_no_bias":
        return f"decoder.norm is {decoder.norm}; {theirs} have layer or rms"
    return ""


def assumptions(experiment: Experiment) -> list[str]:
    """What an import took for granted, because shapes do not show it: lines FIELD = VALUE."""
    fields = ["frontend.padding", "features.log_base", "encoder.feed_forward.activation"]
    fields += ["encoder.attention.dropout_share", "ctc.eos"]
    if experiment.decoder is not None and experiment.decoder.kind == "lstm":
        fields += ["decoder.zoned_output", "decoder.zone_cell", "decoder.zone_hidden"]
        if not experiment.decoder.weight_feedback:  # so far, only chunked models come without
            fields.append("encoder.streaming")
    elif experiment.decoder is not None:
        fields += ["decoder.heads", "decoder.rotary", "decoder.embedding_scale"]
    return [f"{field} = {json.dumps(_value(experiment, field))}" for field in fields]


def _value(experiment: Experiment, field: str) -> Any:
    value: Any = experiment
    for name in field.split("."):
        value = getattr(value, name)
    return value.model_dump() if isinstance(value, Part) else value


def _info(
    source: ForeignCheckpoint, digest: str, labels: int, model: torch.nn.Module, vocabulary: Path | None
) -> dict[str, Any]:
    record = start_record(torch.device("cpu"))
    return {
        "vocabulary": labels,
        "tokenizer_digest": digest,
        "data": None,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "imported": {
            "file": str(source.path.absolute()),
            "sha256": sha256(source.path),
            "vocabulary": None if vocabulary is None else str(vocabulary.absolute()),
            "epoch": source.epoch,
            "step": source.step,
        },
        **record,
        "starts": [],
    }
