"""Decode utterances with RETURNN: python returnn_decode.py JOB_FOLDER (started by parity_returnn.py, knows no aedo).

The encoder, the LSTM and everything else that has one is RETURNN's own module; the decoder's step and the search,
which RETURNN leaves to its users, are stated here with its operations.  The folder holds job.json (dimensions,
behavior_version, batches), model.pt (RETURNN's names) and audio.npz; hypotheses.json is the result.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import returnn.frontend as rf
import torch
from returnn.config import Config, set_global_config
from returnn.frontend.encoder.conformer import ConformerConvSubsample, ConformerEncoder
from returnn.tensor import Dim, Tensor, batch_dim, single_step_dim
from returnn.util.basic import BehaviorVersion

EOS = 0


class State(NamedTuple):
    """Of every hypothesis."""

    lstm: rf.LstmState
    context: Tensor
    accumulated: Tensor


class Memory(NamedTuple):
    """Of every utterance."""

    states: Tensor
    keys: Tensor
    fertility: Tensor
    time: Dim


class Model(rf.Module):
    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.mels = Dim(sizes["mels"], name="mel")
        self.log_base = sizes["log_base"]
        channels = [Dim(n, name=f"channels{i}") for i, n in enumerate(sizes["channels"])]
        attention = (
            {
                "with_bias": False, "with_linear_pos": False, "with_pos_bias": False, "learnable_pos_emb": True,
                "learnable_pos_emb_clipping": sizes["clip"], "separate_pos_emb_per_head": False,
                "pos_emb_dropout": sizes["position_dropout"],
            }
            if sizes["clip"] else {}
        )  # fmt: skip
        norm = (
            {"conv_norm": rf.BatchNorm, "conv_norm_opts": {"use_mask": sizes["masked_norm"]}}
            if sizes["batch_norm"] else {"conv_norm": rf.LayerNorm}
        )  # fmt: skip
        self.encoder = ConformerEncoder(
            self.mels,
            Dim(sizes["dim"], name="encoder"),
            ff_dim=Dim(sizes["ff"], name="ff"),
            input_layer=ConformerConvSubsample(
                self.mels,
                out_dims=channels,
                filter_sizes=[(sizes["kernel"], sizes["kernel"])] * 3,
                pool_sizes=[(1, sizes["band_pool"])],
                strides=[(stride, 1) for stride in sizes["strides"]],
            ),
            ff_activation=rf.relu_square if sizes["activation"] == "relu2" else rf.swish,
            conv_kernel_size=sizes["depthwise"],
            num_heads=sizes["heads"],
            num_layers=sizes["layers"],
            encoder_layer_opts={"self_att_opts": attention, **norm},
            dropout=sizes["dropout"],
            input_dropout=sizes["dropout"],
            att_dropout=sizes["attention_dropout"],
        )
        self.readout_dropout, self.dropout_broadcast = sizes["readout_dropout"], rf.dropout_broadcast_default()
        self.vocabulary = Dim(sizes["vocabulary"], name="vocabulary")
        embedding, key = Dim(sizes["embedding"], name="embedding"), Dim(sizes["key"], name="key")
        units, readout = Dim(sizes["lstm"], name="lstm"), Dim(sizes["readout"], name="readout")
        self.head = Dim(1, name="head")
        self.enc_ctx = rf.Linear(self.encoder.out_dim, key)
        self.inv_fertility = rf.Linear(self.encoder.out_dim, self.head, with_bias=False)
        self.target_embed = rf.Embedding(self.vocabulary, embedding)
        self.s = rf.ZoneoutLSTM(
            embedding + self.encoder.out_dim,
            units,
            zoneout_factor_cell=sizes["zone_cell"],
            zoneout_factor_output=sizes["zone_hidden"],
            use_zoneout_output=sizes["zoned_output"],
            parts_order="jifo",
            forget_bias=0.0,
        )
        self.weight_feedback = rf.Linear(self.head, key, with_bias=False)
        self.s_transformed = rf.Linear(units, key, with_bias=False)
        self.energy = rf.Linear(key, self.head, with_bias=False)
        self.readout_in = rf.Linear(units + embedding + self.encoder.out_dim, readout)
        self.output_prob = rf.Linear(readout // 2, self.vocabulary)
        for layer in sizes["ctc_layers"]:
            setattr(self, f"enc_aux_logits_{layer}", rf.Linear(self.encoder.out_dim, self.vocabulary + 1))

    def encode(self, audio: Tensor, samples: Dim, layers: dict[str, Tensor] | None = None) -> tuple[Tensor, Dim]:
        """Encoder states and their time; the outputs of all layers go into `layers`, by their number from 0."""
        features, frames = rf.audio.log_mel_filterbank_from_raw(
            audio, in_spatial_dim=samples, out_dim=self.mels, sampling_rate=16_000, log_base=self.log_base
        )
        return self.encoder(features, in_spatial_dim=frames, collected_outputs=layers)

    def memory(self, states: Tensor, time_dim: Dim) -> Memory:
        return Memory(states, self.enc_ctx(states), rf.sigmoid(self.inv_fertility(states)), time_dim)

    def start(self, dims: list[Dim], memory: Memory) -> State:
        return State(
            self.s.default_initial_state(batch_dims=dims),
            rf.zeros([*dims, self.encoder.out_dim], feature_dim=self.encoder.out_dim),
            rf.zeros([*dims, memory.time, self.head], feature_dim=self.head),
        )

    def attend(self, memory: Memory, embedded: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """One step of the recurrence: the LSTM's output, the context, and the state with the label before it."""
        joined = rf.concat_features(embedded, state.context)
        output, lstm = self.s(joined, state=state.lstm, spatial_dim=single_step_dim)
        hidden = memory.keys + self.weight_feedback(state.accumulated) + self.s_transformed(output)
        weights = rf.softmax(self.energy(rf.tanh(hidden)), axis=memory.time)
        accumulated = state.accumulated + weights * memory.fertility * 0.5
        context = rf.squeeze(rf.dot(weights, memory.states, reduce=memory.time, use_mask=False), axis=self.head)
        context.feature_dim = self.encoder.out_dim
        return output, context, State(lstm, context, accumulated)

    def read_out(self, output: Tensor, embedded: Tensor, context: Tensor) -> Tensor:
        """Logits of the next label."""
        read = self.readout_in(rf.concat_features(output, embedded, context))
        maxout = rf.reduce_out(read, mode="max", num_pieces=2, out_dim=self.output_prob.in_dim)
        axis = self.dropout_broadcast and maxout.feature_dim
        return self.output_prob(rf.dropout(maxout, self.readout_dropout, axis=axis))

    def step(self, memory: Memory, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits of the next label, and the state with the label before it."""
        output, context, state = self.attend(memory, embedded, state)
        return self.read_out(output, embedded, context), state


def search(
    model: Model, memory: Memory, beam: int, exponent: float, limits: Tensor | None = None
) -> list[dict[str, Any]]:
    """The best hypothesis of each utterance.  Ended ones keep their place in the beam and are scaled to compare.

    `limits`: the most steps, by default the utterance's frames.
    """
    if limits is None:
        limits = memory.time.get_size_tensor()
    width = Dim(1, name="beam")
    dims = [batch_dim, width]
    state, scores = model.start(dims, memory), rf.zeros(dims)
    ended, lengths = rf.zeros(dims, dtype="bool"), rf.zeros(dims, dtype="int32")
    embedded = rf.zeros([*dims, model.target_embed.out_dim], feature_dim=model.target_embed.out_dim)
    stay = rf.sparse_to_dense(EOS, axis=model.vocabulary, label_value=0.0, other_value=-1e30)
    labels: list[Tensor] = []
    while True:
        logits, state = model.step(memory, embedded, state)
        totals = scores + rf.where(ended, stay, rf.log_softmax(logits, axis=model.vocabulary))
        wider = Dim(min(beam, width.dimension * model.vocabulary.dimension), name="beam")
        scores, (back, label), _ = rf.top_k(totals, k_dim=wider, axis=[width, model.vocabulary])
        state = State(
            rf.LstmState(h=_gather(state.lstm.h, back, width), c=_gather(state.lstm.c, back, width)),
            _gather(state.context, back, width),
            _gather(state.accumulated, back, width),
        )
        ended, lengths = _gather(ended, back, width), _gather(lengths, back, width)
        labels = [*(_gather(old, back, width) for old in labels), label]
        width, step = wider, len(labels)
        ended = rf.logical_or(ended, rf.logical_or(label == EOS, rf.copy_to_device(limits <= step)))
        if bool(rf.reduce_all(ended, axis=ended.dims).raw_tensor):
            break
        lengths = lengths + rf.cast(rf.logical_not(ended), "int32")
        if step > 1:
            scores = rf.where(ended, scores * (step / (step - 1)) ** exponent, scores)
        embedded = model.target_embed(label)
    history = np.stack([_numpy(label, width) for label in labels], -1)  # [B, K, U]
    final, counts = _numpy(scores, width) / max(step - 1, 1) ** exponent, _numpy(lengths, width)
    best = final.argmax(1)
    return [
        {"labels": history[row, place, : counts[row, place]].tolist(), "score": float(final[row, place])}
        for row, place in enumerate(best)
    ]


def _gather(values: Tensor, back: Tensor, width: Dim) -> Tensor:
    return rf.gather(values, indices=back, axis=width)


def _numpy(values: Tensor, width: Dim) -> np.ndarray:
    return values.copy_compatible_to_dims_raw([batch_dim, width]).cpu().numpy()


def load(model: Model, path: Path) -> None:
    """Every parameter and buffer, none left over."""
    from returnn.torch.frontend.bridge import rf_module_to_pt_module

    rf_module_to_pt_module(model).load_state_dict(torch.load(path, weights_only=True)["model"], strict=True)


def begin(behavior_version: int) -> None:
    """Set up RETURNN; once a process."""
    set_global_config(Config({"behavior_version": behavior_version}))
    BehaviorVersion.set(behavior_version)
    rf.select_backend_torch()


def set_batch(size: int) -> None:
    batch_dim.reset_eager()
    batch_dim.capacity = batch_dim.size = size


def sized(name: str, lengths: torch.Tensor) -> Dim:
    """The dimension of sequences of these lengths [B]."""
    return Dim(Tensor(name, [batch_dim], "int32", raw_tensor=lengths.int()), name=name)


@torch.inference_mode()
def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    begin(job["behavior_version"])
    rf.init_train_step_run_ctx(train_flag=False)
    model = Model(job["sizes"])
    load(model, folder / "model.pt")
    audio = np.load(folder / "audio.npz")
    found: dict[str, dict[str, Any]] = {}
    start = time.perf_counter()
    for batch in job["batches"]:
        lengths = np.array([len(audio[name]) for name in batch], dtype="int32")
        padded = np.zeros((len(batch), lengths.max()), dtype="float32")
        for row, name in enumerate(batch):
            padded[row, : lengths[row]] = audio[name]
        set_batch(len(batch))
        samples = sized("samples", torch.from_numpy(lengths))
        signal = Tensor("audio", [batch_dim, samples], "float32", raw_tensor=torch.from_numpy(padded))
        memory = model.memory(*model.encode(signal, samples))
        for name, best in zip(batch, search(model, memory, job["beam"], job["exponent"]), strict=True):
            assert math.isfinite(best["score"]), name
            found[name] = best
    seconds = time.perf_counter() - start
    import returnn

    result = {"version": returnn.__long_version__, "seconds": seconds, "hypotheses": found}
    (folder / "hypotheses.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
