"""Folders of a chunked model: frames of every chunk, a decoder that says where chunks end, and the original's search.

B utterances, W chunks of all of them, M chunks of the longest, U labels with ends of chunks, N of all utterances.
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
from aedo.experiment import Experiment
from aedo.interop import infer
from aedo.interop.returnn import export_state, import_state, swapped
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import ctc_loss
from aedo.losses.objective import Normalization, Objective
from aedo.model.aed import AED, Outputs
from aedo.model.chunked import ChunkedConfig
from aedo.model.chunked_decoder import ChunkedLstmDecoder
from aedo.model.chunked_labels import chunks_of
from aedo.model.labels import Labels
from aedo.schedule import START
from aedo.verify.check import VALUE, Check, relative
from aedo.verify.chunked_beams import beam_checks
from aedo.verify.describe import Description, compare
from aedo.verify.describe_parts import numbers
from aedo.verify.folder import Array, GoldenFolder, arrays_of, json_of
from aedo.verify.load import equal, state_of
from aedo.verify.stations import smoothed_cross_entropy
from aedo.verify.training import Totals, gradient_checks, statistics_checks, without_randomness

STATED = {
    "vocab": "tokenizer.size",
    "num_enc_layers": "encoder.layers",
    "enc_dim": "encoder.dim",
    "enc_ff_dim": "encoder.feed_forward.dim",
    "enc_att_num_heads": "encoder.attention.heads",
    "conv_kernel_size": "encoder.convolution.kernel",
    "lstm_decoder.embed_dim": "decoder.embedding_dim",
    "lstm_decoder.key_dim": "decoder.attention_dim",
    "lstm_decoder.att_num_heads": "decoder.attention_heads",
    "lstm_decoder.lstm_dim": "decoder.lstm_dim",
    "lstm_decoder.readout_dim": "decoder.readout_dim",
}
"""What config.json and the checkpoint both say: its field, and ours."""
INSIDE = {
    "self_att_input": "attention_norm",
    "self_att": "attention",
    "conv_block_input": "convolution_norm",
    "conv_block": "convolution",
}
"""Parts of a block, by the names in the folder of what they give out."""


class _Inputs(NamedTuple):
    audio: Tensor
    lengths: Tensor
    labels: Labels
    """Without ends of chunks; they know their chunks."""
    targets: int
    """Labels of all utterances, ends of chunks counted."""


def is_one(config: Mapping[str, Any]) -> bool:
    """Whether config.json describes a model that hears in chunks."""
    return isinstance(config.get("chunk"), Mapping)


def checks(folder: GoldenFolder) -> Iterator[Check]:
    """UserError where the folder's model is not one of ours, or its arrays do not fit."""
    state = state_of(folder.checkpoint)
    experiment = _experiment(folder, state)
    model = _model(experiment, state, folder)
    yield equal("exported again", export_state(model), state, 0.0)
    inputs, reference = _inputs(folder), folder.outputs
    with torch.no_grad():
        yield from _values(experiment, model.eval(), inputs, reference, "")
    yield from beam_checks(model, inputs.audio, inputs.lengths, folder.beams, folder.path / "beam.json", "")
    for path in sorted(folder.path.glob("outputs-bv*.npz")):  # the same weights under an older behaviour
        version = path.stem.removeprefix("outputs-bv")
        older = _experiment(folder, state, int(version))
        with torch.no_grad():
            yield from _values(older, _model(older, state, folder).eval(), inputs, arrays_of(path), f"bv{version}/")
        beams = path.with_name(f"beam-bv{version}.json")
        if beams.is_file():
            older_model = _model(older, state, folder).eval()
            yield from beam_checks(older_model, inputs.audio, inputs.lengths, json_of(beams), beams, f"bv{version}/")
    yield from _training(experiment, without_randomness(model), inputs, reference)


def _experiment(folder: GoldenFolder, state: Mapping[str, Tensor], version: int | None = None) -> Experiment:
    said = Description(folder.config, str(folder.path / "config.json"))
    sizes = {name: said.get(f"chunk.{name}", int) for name in _SIZES}
    streaming = ChunkedConfig(
        kept=sizes["kept_encoder_frames"],
        look_ahead=sizes["lookahead_encoder_frames"],
        history=sizes["history_chunks"],
        original=True,
    )
    for name in ("ctc_blank_idx", "eoc_idx", "eos_idx"):
        if said.get(name, int, 0) != 0:
            raise said.refuse(f"{name} is {said.config[name]}, in a chunked model of the original it is 0")
    unseen = infer.Unseen(
        said.get("behavior_version", int) if version is None else version,
        said.activation("ff_activation"),
        said.get("lstm_decoder.use_zoneout_output", bool, False),
        streaming=streaming,
    )
    norm = numbers(said.get("conv_norm", str), "eps", "momentum")
    base = re.fullmatch(r"exp\(([\d.]+)\)", str(said.get("log_mel", dict).get("log_base", "")))
    fields: dict[str, Any] = {f"encoder.convolution.norm.{name}": value for name, value in norm.items()}
    fields |= {"features.log_base": float(torch.tensor(float(base[1]), dtype=torch.float64).exp())} if base else {}
    fields["features.floor"] = said.get("log_mel.eps", float, 1e-10)
    fields["decoder.zone_cell"] = said.get("lstm_decoder.zoneout_cell", float, 0.15)
    fields["decoder.zone_hidden"] = said.get("lstm_decoder.zoneout_output", float, 0.05)
    fields["loss.label_smoothing"] = said.get("label_smoothing", float, 0.1)
    try:
        experiment = infer.experiment_of(state, unseen, str(folder.path / "config.json"))
        for path, value in fields.items():
            experiment = experiment.with_(path, value)
    except ValidationError as error:
        raise said.refuse(f"{path}: {error.errors()[0]['msg']}") from None
    except UserError as error:
        raise said.refuse(str(error)) from None
    compare(said, experiment, STATED)
    _check_sizes(said, sizes, streaming, experiment.frontend.downsampling)
    return experiment


_SIZES = (
    "kept_encoder_frames",
    "lookahead_encoder_frames",
    "history_chunks",
    "encoder_frames_per_chunk",
    "feature_frames_per_chunk",
    "stride_feature_frames",
)


def _check_sizes(said: Description, sizes: dict[str, int], streaming: ChunkedConfig, downsampling: int) -> None:
    """UserError where the sizes of chunks do not fit together."""
    expected = {
        "encoder_frames_per_chunk": streaming.frames,
        "feature_frames_per_chunk": streaming.frames * downsampling,
        "stride_feature_frames": streaming.kept * downsampling,
    }
    for name, value in expected.items():
        if sizes[name] != value:
            raise said.refuse(f"chunk.{name} is {sizes[name]}, the others make it {value}")


def _model(experiment: Experiment, state: Mapping[str, Tensor], folder: GoldenFolder) -> AED:
    model = experiment.build_model(experiment.tokenizer.size)
    import_state(state, model, str(folder.checkpoint))
    return model


def _inputs(folder: GoldenFolder) -> _Inputs:
    given = folder.inputs  # their labels lack the last end of a chunk
    return _Inputs(given.audio, given.lengths, chunks_of(given.labels), int((given.labels.lengths + given.eos).sum()))


def _values(
    experiment: Experiment, model: AED, inputs: _Inputs, reference: Mapping[str, Array], prefix: str
) -> Iterator[Check]:
    """All stations of a pass that the folder has, under `prefix` in the folder where it is train/."""
    stations, _ = _stations(experiment, model, inputs)
    yield from _compared(stations, reference, prefix)


class _Station(NamedTuple):
    part: str
    ours: Tensor
    cut: Callable[[Tensor], Tensor]
    """The reference's padded array to what ours is."""


def _stations(experiment: Experiment, model: AED, inputs: _Inputs) -> tuple[dict[str, _Station], Totals]:
    with _recording(model) as recorded:
        features = model.features(inputs.audio, inputs.lengths)
        outputs: Outputs = model(features, inputs.labels)
    chunked, decoder, encoded = model.chunked, outputs.decoder, outputs.encoded
    assert chunked is not None
    assert decoder is not None
    assert isinstance(model.decoder, ChunkedLstmDecoder)
    counts, kept, packing = chunked.count(features.lengths), chunked.config.kept, decoder.packing

    def chunks(x: Tensor) -> Tensor:  # [B, M, ...] -> [W, ...]
        return torch.cat([row[:count] for row, count in zip(x, counts.tolist())])

    def frames(x: Tensor) -> Tensor:  # [B, T, ...] -> [sum of T, ...]
        return torch.cat([row[:count] for row, count in zip(x, features.lengths.tolist())])

    def whole(x: Tensor) -> Tensor:
        return x

    def by_chunk(x: Tensor) -> Tensor:  # ours [B, M K, ...] -> [W, K, ...]
        return chunks(x.unflatten(1, (-1, kept)))  # type: ignore[no-untyped-call]

    found = {
        "log_mel": _Station("features", frames(features.values), frames),
        "log_mel_len": _Station("features", features.lengths, whole),
        "num_chunks": _Station("features", counts, whole),
        "enc": _Station("encoder", by_chunk(encoded.states), chunks),
        **{
            name: _Station("encoder", value, chunks) for name, value in recorded.items() if "/" in name or "enc" in name
        },
    }
    keys = model.decoder.attention.key(encoded.states)
    found["enc_ctx"] = _Station("decoder", by_chunk(keys), chunks)
    units, embedding = model.decoder.lstm.units, model.decoder.embedding.embedding_dim
    state, _, context = recorded["readout"].tensor_split([units, units + embedding], -1)
    memory = model.decoder.memory(encoded)
    moves = (decoder.targets == 0).long()
    by_label = torch.zeros(len(counts), len(packing.active), dtype=torch.int64)
    by_label[packing.rows, packing.positions] = moves
    index = torch.minimum(by_label.cumsum(1) - by_label, memory.last[:, None])
    found["chunk_idx"] = _Station("decoder", packing.take(index), packing.take)
    found["dec_s"] = _Station("decoder", state, packing.take)
    found["dec_att"] = _Station("decoder", context, packing.take)
    found["dec_logits"] = _Station("decoder", decoder.logits, packing.take)
    for layer, logits in outputs.ctc_logits.items():
        log_probs = logits.log_softmax(-1)
        each = ctc_loss(log_probs, encoded.lengths, inputs.labels.ids, inputs.labels.lengths)
        found[f"ctc_log_probs_{layer}"] = _Station("ctc", swapped(by_chunk(log_probs)), chunks)
        found[f"ctc_loss_{layer}"] = _Station("ctc", each, whole)
    nll = cross_entropy(decoder.logits, decoder.targets, 0.0)
    smoothed = smoothed_cross_entropy(decoder.logits, decoder.targets, float(experiment.loss.label_smoothing))  # type: ignore[arg-type]
    sums = {"ce_per_seq": nll, "ce_smoothed_per_seq": smoothed}
    found["ce_per_label"] = _Station("losses", nll, packing.take)
    for name, values in sums.items():
        found[name] = _Station("losses", values.new_zeros(len(counts)).index_add(0, packing.rows, values), whole)
    totals = _totals(experiment, outputs, inputs)
    for name, value in totals.values.items():
        found[name] = _Station("losses", value, whole)
    return found, totals


def _totals(experiment: Experiment, outputs: Outputs, inputs: _Inputs) -> Totals:
    """The original divides its CTC losses by the number of targets with ends of chunks, too."""
    share = int(inputs.labels.lengths.sum()) / inputs.targets
    values, totals = dict[str, Tensor](), dict[Normalization, Tensor]()
    kinds: tuple[tuple[Normalization, str, float], ...] = (
        ("labels", "normalized", share),
        ("sum", "unnormalized", 1.0),
    )
    for normalization, name, scale in kinds:
        config = experiment.loss.with_("normalization", normalization)
        losses = Objective(config, experiment.ctc.with_("scales", scale))(outputs, inputs.labels, START)
        totals[normalization] = losses.total
        values[f"total_loss_{name}"] = losses.total.detach()
    for term in losses.terms:
        name = "fer" if term.name == "ler" else term.name
        values[f"loss_sum_{name}"] = term.sum.float()
        values[f"loss_mean_{name}"] = term.sum.float() / inputs.targets
    return Totals(values, totals)


@contextmanager
def _recording(model: AED) -> Iterator[dict[str, Tensor]]:
    """Hooks that keep what blocks, the parts of the first one and the decoder's read-out see or give out."""
    recorded: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, __, output: recorded.update({name: output})

    def keep_input(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _, inputs: recorded.update({name: inputs[0]})

    assert model.decoder is not None
    first, readout = model.encoder.layers[0], model.decoder.readout  # type: ignore[attr-defined]
    handles = [first.register_forward_pre_hook(keep_input("layer_1/input"))]
    handles += [readout.register_forward_pre_hook(keep_input("readout"))]
    handles += [getattr(first, ours).register_forward_hook(keep(f"layer_1/{name}")) for name, ours in INSIDE.items()]
    for number, layer in enumerate(model.encoder.layers, start=1):
        handles.append(layer.register_forward_hook(keep(f"enc_layer_{number}")))
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _compared(stations: Mapping[str, _Station], reference: Mapping[str, Array], prefix: str) -> Iterator[Check]:
    training = prefix == "train/"
    for station, (part, ours, cut) in stations.items():
        name = f"train_{station}" if training and station.startswith("total_loss") else prefix + station
        theirs = name if training else station
        if theirs not in reference:
            continue
        try:
            difference, note = relative(ours, cut(torch.as_tensor(reference[theirs])))
        except (IndexError, RuntimeError) as error:
            difference, note = float("inf"), f"the folder has {list(reference[theirs].shape)}: {error}"
        yield Check(f"{part}{', training' if training else ''}", name, difference, VALUE, note)


def _training(experiment: Experiment, model: AED, inputs: _Inputs, reference: Mapping[str, Array]) -> Iterator[Check]:
    stations, totals = _stations(experiment, model, inputs)
    yield from _compared(stations, reference, "train/")
    moved = {
        name: swapped(torch.as_tensor(array)).numpy() if name.startswith("grad/enc_aux_logits") else array
        for name, array in reference.items()
    }
    yield from gradient_checks(model, totals, moved, dict)
    yield from statistics_checks(model, moved)
