"""aedo at work, to be timed: python aedo_speed.py JOB_FOLDER (started by speed_returnn.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from worker import serve

from aedo.conventions import EOS
from aedo.data.batch import Batch
from aedo.experiment import Experiment
from aedo.interop.returnn import foreign_name
from aedo.losses.objective import Losses
from aedo.memory import keep_freed_memory
from aedo.model.aed import AED, Outputs
from aedo.model.encoder import Encoded
from aedo.model.labels import Labels
from aedo.nn.advance import advance
from aedo.schedule import Progress
from aedo.search.beam import beam_search
from aedo.search.hypotheses import NBest
from aedo.train.precision import autocast
from aedo.train.step import Step, forward

CPU = torch.device("cpu")
PROGRESS = Progress(100_000, 50_000, 10.0, 0.1)
"""Behind every warm-up."""


class Aedo:
    version = f"aedo; torch {torch.__version__}"

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder, self.job = folder, job
        self.inputs: dict[str, torch.Tensor] = torch.load(folder / "inputs.pt", weights_only=True)
        self.experiment = Experiment.model_validate(job["experiment"])
        self.model, self.step = self._model(self.experiment), None

    def _model(self, experiment: Experiment) -> AED:
        model = experiment.build_model(self.job["sizes"]["vocabulary"])
        model.load_state_dict(torch.load(self.folder / "aedo.pt", weights_only=True))
        advance(model, PROGRESS)
        return model

    # Results to compare

    def check(self, what: str, precision: str) -> dict[str, Any]:
        if what == "encoder":
            with torch.inference_mode():
                encoded = self._encode("ragged_", precision)
                return {"states": encoded.states.float(), "lengths": encoded.lengths}
        if what == "search":
            found = self._search(4, precision)
            best = [found.hypotheses(row)[0] for row in range(4)]
            return {"labels": [list(each.labels) for each in best], "scores": [each.score for each in best]}
        experiment = Experiment.model_validate(self.job["undropped_experiment"])
        model = self._model(experiment).train()
        config = experiment.train.with_("precision", precision)
        objective = experiment.loss.build(experiment.ctc)
        losses = forward(model, objective, self._batch("ragged_"), PROGRESS, config, CPU)
        losses.total.backward()  # type: ignore[no-untyped-call]
        gradients = {}
        for name, parameter in model.named_parameters():
            foreign, transform = foreign_name(name, model)
            gradients[foreign] = transform(parameter.grad)
        named = {term.name: float(term.sum) / term.count for term in losses.terms if term.name != "ler"}
        return {"losses": named, "gradients": gradients}

    # Work to time

    def part(self, name: str, precision: str) -> Callable[[], None]:
        keep_freed_memory()  # as recognition and training do, once there is a model
        self.model.zero_grad(set_to_none=True)
        self.step = None
        objective = self.experiment.loss.build(self.experiment.ctc)
        if name == "step":
            config = self.experiment.train.with_("precision", precision)
            optimizer = config.optimizer.build(self.model)
            step = Step(self.model, objective, optimizer, self.experiment.augment.build(), config, CPU)

            def once() -> None:
                step.micro_step(self._batch(""), PROGRESS)
                step.update(PROGRESS)

            return once
        if name == "decoder":
            return lambda: self._decoder(precision)
        if name == "encoder":
            return torch.inference_mode()(lambda: self._encode("", precision))
        return lambda: self._search(int(name.removeprefix("search")), precision)

    def _decoder(self, precision: str) -> None:
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        labels = Labels(self.inputs["labels"], self.inputs["label_lengths"])
        encoded = self._encoded(self.inputs["states"].detach().requires_grad_())
        with autocast(CPU, precision):
            outputs = Outputs(encoded, {}, self.model.decoder(encoded, labels.with_eos()))
        losses: Losses = self.experiment.loss.build(self.experiment.ctc)(outputs, labels, PROGRESS)
        losses.total.backward()  # type: ignore[no-untyped-call]

    def _encode(self, kind: str, precision: str) -> Encoded:
        self.model.eval()
        lengths = self.inputs[f"{kind}audio_lengths"]
        with autocast(CPU, precision):
            return self.model.encode(self.model.features(self.inputs["audio"], lengths))

    @torch.inference_mode()
    def _search(self, utterances: int, precision: str) -> NBest:
        """So many steps whatever comes: EOS cannot."""
        decoder = self.model.eval().decoder
        bias = decoder.output.bias
        bias.data[EOS] -= self.job["no_eos"]
        try:
            with autocast(CPU, precision):
                memory = decoder.memory(self._encoded(self.inputs["states"][:utterances]))
                limits = torch.full((utterances,), self.job["steps"])
                return beam_search(decoder, memory, limits, beam=self.job["beam"], length_normalization=1.0)
        finally:
            bias.data[EOS] += self.job["no_eos"]

    # Inputs

    def _batch(self, kind: str) -> Batch:
        names = (f"{kind}audio_lengths", f"{kind}labels", f"{kind}label_lengths")
        return Batch(("a", "b", "c", "d"), self.inputs["audio"], *(self.inputs[name] for name in names))

    @staticmethod
    def _encoded(states: torch.Tensor) -> Encoded:
        batch, frames, _ = states.shape
        return Encoded(states, torch.full((batch,), frames), torch.ones(batch, frames, dtype=torch.bool), {})


if __name__ == "__main__":
    serve(Aedo)
