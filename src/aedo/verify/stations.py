"""Every intermediate value of one pass through a model, under the reference's names.

B batch, T feature frames, T' encoder frames, U labels with EOS, N packed labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from aedo.features.logmel import Features
from aedo.losses.cross_entropy import cross_entropy
from aedo.losses.ctc import ctc_loss
from aedo.model.aed import AED, Outputs
from aedo.model.conformer import ConformerBlock
from aedo.model.labels import Labels, Packing
from aedo.model.lstm_decoder import LstmDecoder
from aedo.model.transformer_decoder import TransformerDecoder
from aedo.verify.check import relative
from aedo.verify.folder import Array, Inputs

Axis = Literal["features", "frames", "labels", "attention", "whole"]


@dataclass(frozen=True)
class Pass:
    """One pass of the folder's inputs."""

    features: Features
    outputs: Outputs
    recorded: dict[str, list[Any]]
    """What the hooks saw, by what it is."""


class Value(NamedTuple):
    part: str
    ours: Tensor
    """Valid positions only, joined: [sum of T, ...], [sum of T', ...], [N, ...], [N, T', heads] or as it is."""
    axis: Axis


class Stations:
    """The values of a pass, and how the reference's padded arrays are cut to them."""

    def __init__(self, model: AED, inputs: Inputs, passed: Pass, *, smoothing: float) -> None:
        self.features, self.frames = passed.features.lengths, passed.outputs.encoded.lengths
        self.log_scale = model.features.log_scale
        decoder = passed.outputs.decoder
        self.packing: Packing | None = None if decoder is None else decoder.packing
        self.values: dict[str, Value] = {}
        self._encoder(model, inputs, passed)
        if passed.outputs.decoder is not None:
            self._decoder(model, passed, smoothing)

    def compare(self, station: str, reference: Array) -> tuple[float, str]:
        """Largest relative difference of a station to a reference array, on valid positions."""
        _, ours, axis = self.values[station]
        if reference.dtype.kind not in "fiub":
            return float("inf"), f"the folder has {reference.dtype}, not numbers"
        expected = torch.as_tensor(reference)
        if axis == "whole":
            return relative(ours, expected)
        try:
            expected = self._cut(expected, axis)
        except (IndexError, RuntimeError) as error:
            return float("inf"), f"the folder has {list(reference.shape)}: {error}"
        if axis == "features" and expected.shape == ours.shape:
            return relative(ours, expected, allowance=self._rounding(expected))
        return relative(ours, expected)

    def _rounding(self, log_mel: Tensor) -> Tensor:
        """What an FFT in float32 cannot know of a quiet band in a loud frame: [sum of T, F] -> the same.

        Its errors are some eps times the loudest amplitude of the frame, whatever the band's own.
        """
        ratio = ((log_mel.amax(-1, keepdim=True) - log_mel) / (2 * self.log_scale)).exp()  # of amplitudes
        return 2 * torch.finfo(torch.float32).eps * ratio * self.log_scale

    def _cut(self, expected: Tensor, axis: Axis) -> Tensor:
        if axis == "features":
            return _valid(expected, self.features)
        if axis == "frames":
            return _valid(expected, self.frames)
        assert self.packing is not None
        taken = self.packing.take(expected)
        if axis == "attention":
            return self._only_inside(taken.reshape(*taken.shape[:2], -1))
        return taken

    def _only_inside(self, values: Tensor) -> Tensor:
        """[N, T', heads], zero on frames that do not belong to the label's utterance."""
        assert self.packing is not None
        inside = torch.arange(values.shape[1]) < self.frames[self.packing.rows][:, None]
        return values.masked_fill(~inside[..., None], 0.0)

    def _add(self, part: str, name: str, ours: Tensor, axis: Axis) -> None:
        self.values[name] = Value(part, ours, axis)

    def _encoder(self, model: AED, inputs: Inputs, passed: Pass) -> None:
        features, encoded, recorded = passed.features, passed.outputs.encoded, passed.recorded
        self._add("features", "log_mel_len", features.lengths, "whole")
        log_mel = recorded["log_mel"][0] if "log_mel" in recorded else features.values
        self._add("features", "log_mel", _valid(log_mel, features.lengths), "features")
        if "log_mel" in recorded:
            self._add("features", "feat_norm", _valid(features.values, features.lengths), "features")
        self._add("front-end", "enc_len", encoded.lengths, "whole")
        for name in ("conv_out", "enc_in"):
            self._add("front-end", name, _valid(recorded[name][0], encoded.lengths), "frames")
        for number in range(1, len(model.encoder.layers) + 1):
            for inside in ("ff1", "attention", "convolution"):
                if f"enc_layer_{number}/{inside}" not in recorded:
                    continue  # an E-Branchformer has attention and convolution side by side
                states = recorded[f"enc_layer_{number}/{inside}"][0]
                self._add("encoder", f"enc_layer_{number}/{inside}", _valid(states, encoded.lengths), "frames")
            states = recorded[f"enc_layer_{number}"][0]
            self._add("encoder", f"enc_layer_{number}", _valid(states, encoded.lengths), "frames")
        self._add("encoder", "enc", _valid(encoded.states, encoded.lengths), "frames")
        targets = inputs.labels.with_eos() if inputs.eos else inputs.labels
        for layer, logits in passed.outputs.ctc_logits.items():
            name = head_name(model, layer)
            log_probs = logits.float().log_softmax(-1)
            losses = ctc_loss(log_probs, encoded.lengths, targets.ids, targets.lengths)
            self._add("ctc", f"ctc_log_probs_{name}", _valid(log_probs, encoded.lengths), "frames")
            self._add("ctc", f"ctc_loss_{name}", losses, "whole")

    def _decoder(self, model: AED, passed: Pass, smoothing: float) -> None:
        recorded, output, frames = passed.recorded, passed.outputs.decoder, self.frames
        assert output is not None
        if isinstance(model.decoder, LstmDecoder):
            self._add("decoder", "enc_ctx", _valid(recorded["enc_ctx"][0], frames), "frames")
            self._add("decoder", "inv_fertility", _valid(recorded["inv_fertility"][0].sigmoid(), frames), "frames")
            sizes = [model.decoder.lstm.units, model.decoder.embedding.embedding_dim]
            state, embedded, context = recorded["readout"][0].tensor_split([sizes[0], sum(sizes)], -1)
            self._add("decoder", "dec_input_embed", embedded, "labels")
            self._add("decoder", "dec_s", state, "labels")
            if "energy" in recorded:
                self._add("decoder", "dec_energy", self._only_inside(torch.cat(recorded["energy"])), "attention")
            weights = recorded["weights"][0].transpose(1, 2)  # [N, T', heads]
            self._add("decoder", "att_weights", self._only_inside(weights), "attention")
            self._add("decoder", "dec_att", context, "labels")
        if isinstance(model.decoder, TransformerDecoder):
            for name in ("dec_in", *(f"dec_layer_{number + 1}" for number in range(len(model.decoder.layers)))):
                states = recorded[name][0]
                self._add("decoder", name, output.packing.take(states), "labels")
        self._add("decoder", "dec_targets", output.targets, "labels")
        self._add("decoder", "dec_logits", output.logits, "labels")
        for number, logits in output.auxiliary.items():
            self._add("decoder", f"dec_aux_logits_{number}", logits, "labels")
            for name, amount in (("", 0.0), ("_smoothed", smoothing)):
                each = self._per_utterance(smoothed_cross_entropy(logits, output.targets, amount))
                self._add("losses", f"ce_aux_{number}{name}_per_seq", each, "whole")
        nll = cross_entropy(output.logits, output.targets, 0.0)
        errors = (output.logits.argmax(-1) != output.targets).float()
        smoothed = smoothed_cross_entropy(output.logits, output.targets, smoothing)
        by_utterance = output.packing.rows.argsort(stable=True)  # the reference packs utterance by utterance
        self._add("decoder", "dec_targets_len", self._per_utterance(torch.ones_like(nll)).long(), "whole")
        self._add("losses", "ce_per_label", nll, "labels")
        self._add("losses", "ce_per_seq", self._per_utterance(nll), "whole")
        self._add("losses", "ce_smoothed_per_seq", self._per_utterance(smoothed), "whole")
        self._add("losses", "ce_packed_as_reported", nll[by_utterance], "whole")
        self._add("losses", "fer_packed", errors[by_utterance], "whole")
        self._add("losses", "fer_mean", errors.mean(), "whole")

    def _per_utterance(self, values: Tensor) -> Tensor:
        assert self.packing is not None
        return values.new_zeros(len(self.frames)).index_add(0, self.packing.rows, values)


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with smoothed targets, written out.  [N, V], [N] -> [N]."""
    floor = smoothing / (logits.shape[-1] - 1)
    all_labels = logits.float().log_softmax(-1).sum(-1)
    return (1.0 - smoothing - floor) * cross_entropy(logits, targets, 0.0) - floor * all_labels


def head_name(model: AED, layer: int) -> str:
    """The reference's name of the CTC head on a layer: a model without decoder calls its top head `final`."""
    return "final" if model.decoder is None and layer == len(model.encoder.layers) else str(layer)


def run(model: AED, inputs: Inputs) -> Pass:
    """One pass, in whatever mode the model is, with everything on the way recorded."""
    recorded: dict[str, list[Any]] = defaultdict(list)
    with _recording(model, recorded):
        features = model.features(inputs.audio, inputs.lengths)
        outputs: Outputs = model(features, Labels(*inputs.labels))
    return Pass(features, outputs, recorded)


@contextmanager
def _recording(model: AED, recorded: dict[str, list[Any]]) -> Iterator[None]:
    """Hooks that keep what modules take in or give out; the model itself stays as it is.

    In evaluation an LSTM decoder goes its plain way, on which energies can be seen; in training the one it trains by.
    """
    handles = []
    decoder = model.decoder if isinstance(model.decoder, LstmDecoder) else None

    def keep(name: str, output: Any) -> None:
        recorded[name].append(output[0] if isinstance(output, tuple) else output)

    def keep_input(module: nn.Module, name: str) -> None:
        handles.append(module.register_forward_pre_hook(lambda _, inputs: recorded[name].append(inputs[0])))

    def keep_output(module: nn.Module, name: str) -> None:
        handles.append(module.register_forward_hook(lambda _, __, output: keep(name, output)))

    if model.features.normalize is not None:
        keep_input(model.features.normalize, "log_mel")
    keep_input(model.frontend.projection, "conv_out")
    keep_output(model.frontend, "enc_in")
    for number, layer in enumerate(model.encoder.layers, start=1):
        keep_input(layer.attention_norm, f"enc_layer_{number}/ff1")  # type: ignore[arg-type]
        if isinstance(layer, ConformerBlock):
            keep_input(layer.convolution_norm, f"enc_layer_{number}/attention")
        keep_input(layer.ff2_norm, f"enc_layer_{number}/convolution")  # type: ignore[arg-type]
        keep_output(layer, f"enc_layer_{number}")
    if decoder is not None:
        keep_output(decoder.attention.key, "enc_ctx")
        if decoder.attention.fertility is not None:
            keep_output(decoder.attention.fertility, "inv_fertility")
        keep_output(decoder.attention.energy, "energy")
        keep_input(decoder.readout, "readout")
    if isinstance(model.decoder, TransformerDecoder):
        keep_input(model.decoder.layers[0], "dec_in")
        for number, layer in enumerate(model.decoder.layers, start=1):
            keep_output(layer, f"dec_layer_{number}")
    try:
        with nullcontext() if decoder is None else _watched(decoder, recorded["weights"]):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _watched(decoder: LstmDecoder, weights: list[Any]) -> Iterator[None]:
    """The attention weights [N, H, T'] that come of the decoder's loop."""
    loop, attend = decoder.loop, decoder.attend

    def watched(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        found = attend(*arguments)
        weights.append(found[-1])
        return found

    decoder.loop = loop if decoder.training else "plain"
    decoder.attend = watched  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        decoder.loop = loop
        del decoder.attend


def _valid(values: Tensor, lengths: Tensor) -> Tensor:
    """Rows [B, T, ...] cut to their lengths and joined -> [sum of lengths, ...]."""
    if len(values) != len(lengths) or values.shape[1] < int(lengths.max()):
        raise IndexError(f"lengths {lengths.tolist()} do not fit")
    return torch.cat([row[:length] for row, length in zip(values, lengths.tolist())])
