"""RETURNN at work, to be timed: python returnn_speed.py JOB_FOLDER (started by speed_returnn.py, knows no aedo).

Modules, losses, update and autocast are RETURNN's own; how they are put together is what its users write: the
decoder's steps in `rf.scan`, read-out and softmax behind it, the latter on packed labels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import returnn
import returnn.frontend as rf
import torch
from returnn.config import Config
from returnn.tensor import Dim, Tensor, batch_dim
from returnn.torch.frontend.bridge import rf_module_to_pt_module
from returnn.torch.updater import Updater
from returnn_decode import EOS, Model, begin, load, search, set_batch, sized
from worker import serve


class Returnn:
    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.version = f"RETURNN {returnn.__long_version__}"
        begin(job["behavior_version"])
        self.folder, self.job = folder, job
        self.inputs: dict[str, torch.Tensor] = torch.load(folder / "inputs.pt", weights_only=True)
        self.model, self.updater, self.steps = self._model(job["sizes"]), None, 0

    def _model(self, sizes: dict[str, Any]) -> Model:
        rf.init_train_step_run_ctx(train_flag=False)
        model = Model(sizes)
        load(model, self.folder / "model.pt")
        return model

    # Results to compare

    def check(self, what: str, precision: str) -> dict[str, Any]:
        if what == "encoder":
            with torch.inference_mode():
                return {"states": self._encode("ragged_", precision).float()}
        if what == "search":
            found = self._search(4, precision)
            return {"labels": [best["labels"] for best in found], "scores": [best["score"] for best in found]}
        model = self._model({**self.job["sizes"], **self.job["undropped"]})
        losses = self._losses(model, "ragged_", precision)
        sum(losses.values()).backward()  # type: ignore[union-attr]
        gradients = {name: p.grad for name, p in rf_module_to_pt_module(model).named_parameters()}
        return {"losses": {name: loss.item() for name, loss in losses.items()}, "gradients": gradients}

    # Work to time

    def part(self, name: str, precision: str) -> Callable[[], None]:
        module = rf_module_to_pt_module(self.model)
        module.zero_grad(set_to_none=True)
        self.updater = None
        if name == "step":
            config = Config(
                {"optimizer": {"class": "adamw", **self.job["adamw"]}, "gradient_clip_global_norm": self.job["clip"]}
            )
            self.updater = Updater(config=config, network=module, device="cpu", initial_learning_rate=self.job["lr"])
            self.updater.create_optimizer()
            return lambda: self._step(precision)
        if name == "decoder":
            return lambda: self._decoder(precision)
        if name == "encoder":
            return torch.inference_mode()(lambda: self._encode("", precision))
        return lambda: self._search(int(name.removeprefix("search")), precision)

    def _step(self, precision: str) -> None:
        self.updater.zero_grad()
        self._losses(self.model, "", precision)
        rf.get_run_ctx().total_loss().raw_tensor.backward()
        self.updater.set_current_train_step(global_train_step=self.steps, epoch=1)
        self.updater.step()
        self.steps += 1

    def _losses(self, model: Model, kind: str, precision: str) -> dict[str, torch.Tensor]:
        """Of a batch, as RETURNN normalises them."""
        rf.init_train_step_run_ctx(train_flag=True, step=self.steps, epoch=1)
        with autocast(precision):
            signal, samples = self._audio(kind)
            layers: dict[str, Tensor] = {}
            states, time = model.encode(signal, samples, layers)
            labels, length = self._labels(model, kind, eos=False)
            for layer in self.job["sizes"]["ctc_layers"]:
                logits = getattr(model, f"enc_aux_logits_{layer}")(layers[str(layer - 1)])
                loss = rf.ctc_loss(
                    logits=logits,
                    targets=labels,
                    input_spatial_dim=time,
                    targets_spatial_dim=length,
                    blank_index=model.vocabulary.dimension,
                )
                norm = length.get_size_tensor()
                loss.mark_as_loss(f"ctc_{layer}", custom_inv_norm_factor=norm, use_normalized_loss=True)
            self._cross_entropy(model, states, time, kind).mark_as_loss("ce", use_normalized_loss=True)
        marked = rf.get_run_ctx().losses
        return {name: loss.get_scaled_reduced_loss().raw_tensor for name, loss in marked.items()}

    def _cross_entropy(self, model: Model, states: Tensor, time: Dim, kind: str) -> Tensor:
        """Of packed labels, EOS included."""
        memory = model.memory(states, time)
        labels, length = self._labels(model, kind, eos=True)
        embedded = rf.shift_right(model.target_embed(labels), axis=length, pad_value=0.0)

        def body(entering: Tensor, state: Any) -> tuple[dict[str, Tensor], Any]:
            output, context, state = model.attend(memory, entering, state)
            return {"output": output, "context": context}, state

        units, width = model.s.out_dim, model.encoder.out_dim
        templates = {
            "output": Tensor("output", dims=[batch_dim, units], dtype="float32", feature_dim=units),
            "context": Tensor("context", dims=[batch_dim, width], dtype="float32", feature_dim=width),
        }
        initial = model.start([batch_dim], memory)
        outs, _, _ = rf.scan(spatial_dim=length, xs=embedded, ys=templates, initial=initial, body=body)
        logits = model.read_out(outs["output"], embedded, outs["context"])
        packed, pack = rf.pack_padded(logits, dims=[batch_dim, length], enforce_sorted=False)
        targets, _ = rf.pack_padded(labels, dims=[batch_dim, length], enforce_sorted=False, out_dim=pack)
        log_probs = rf.log_softmax(packed, axis=model.vocabulary)
        log_probs = rf.label_smoothed_log_prob_gradient(log_probs, self.job["smoothing"], axis=model.vocabulary)
        return rf.cross_entropy(target=targets, estimated=log_probs, estimated_type="log-probs", axis=model.vocabulary)

    def _decoder(self, precision: str) -> None:
        rf.init_train_step_run_ctx(train_flag=True, step=self.steps, epoch=1)
        rf_module_to_pt_module(self.model).zero_grad(set_to_none=True)
        with autocast(precision):
            states, time = self._states(self.inputs["states"].detach().requires_grad_())
            self._cross_entropy(self.model, states, time, "").mark_as_loss("ce", use_normalized_loss=True)
        rf.get_run_ctx().total_loss().raw_tensor.backward()

    def _encode(self, kind: str, precision: str) -> torch.Tensor:
        rf.init_train_step_run_ctx(train_flag=False)
        with autocast(precision):
            states, time = self.model.encode(*self._audio(kind))
        return states.copy_compatible_to_dims_raw([batch_dim, time, self.model.encoder.out_dim])

    @torch.inference_mode()
    def _search(self, utterances: int, precision: str) -> list[dict[str, Any]]:
        """So many steps whatever comes: EOS cannot."""
        rf.init_train_step_run_ctx(train_flag=False)
        bias = self.model.output_prob.bias.raw_tensor
        bias.data[EOS] -= self.job["no_eos"]
        try:
            with autocast(precision):
                memory = self.model.memory(*self._states(self.inputs["states"][:utterances]))
                steps = torch.full((utterances,), self.job["steps"], dtype=torch.int32)
                limits = Tensor("limits", [batch_dim], "int32", raw_tensor=steps)
                return search(self.model, memory, self.job["beam"], 1.0, limits)
        finally:
            bias.data[EOS] += self.job["no_eos"]

    # Inputs

    def _audio(self, kind: str) -> tuple[Tensor, Dim]:
        audio, lengths = self.inputs["audio"], self.inputs[f"{kind}audio_lengths"]
        set_batch(len(audio))
        samples = sized("samples", lengths)
        return Tensor("audio", [batch_dim, samples], "float32", raw_tensor=audio), samples

    def _labels(self, model: Model, kind: str, *, eos: bool) -> tuple[Tensor, Dim]:
        labels, lengths = self.inputs[f"{kind}labels"], self.inputs[f"{kind}label_lengths"]
        if eos:
            labels, lengths = torch.nn.functional.pad(labels, (0, 1), value=EOS), lengths + 1
        length = sized("labels", lengths)
        return Tensor("labels", [batch_dim, length], "int64", sparse_dim=model.vocabulary, raw_tensor=labels), length

    def _states(self, states: torch.Tensor) -> tuple[Tensor, Dim]:
        set_batch(len(states))
        time, width = sized("time", torch.full((len(states),), states.shape[1])), self.model.encoder.out_dim
        return Tensor("states", [batch_dim, time, width], "float32", feature_dim=width, raw_tensor=states), time


def autocast(precision: str) -> torch.autocast:
    """As RETURNN's engine does where `torch_amp` is bfloat16."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


if __name__ == "__main__":
    serve(Returnn)
