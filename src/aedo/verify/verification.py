"""Import a folder's weights, run its inputs, and compare with what the original system computed, station by station."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.model.aed import AED
from aedo.verify import bare_encoder, beams, chunked, language_model, tensorflow
from aedo.verify.check import VALUE, Check
from aedo.verify.folder import GoldenFolder
from aedo.verify.kinks import kink_allowances
from aedo.verify.load import load, weight_checks
from aedo.verify.stations import Stations, Value, run
from aedo.verify.training import gradient_checks, statistics_checks, totals_of, without_randomness


@dataclass
class Verification:
    """The checks of one folder, made one after the other while iterating."""

    folder: GoldenFolder
    compared: list[str] = field(default_factory=list)
    """Names of the folder's arrays that some check looked at."""

    @classmethod
    def of(cls, path: Path) -> Verification:
        """UserError where the folder is not of the form, or its model not one of ours."""
        return cls(GoldenFolder.open(path))

    def checks(self) -> Iterator[Check]:
        """UserError where the folder holds nothing to compare."""
        for kind in (bare_encoder, language_model, chunked):
            if kind.is_one(self.folder.config):
                for check in kind.checks(self.folder):
                    self.compared.append(check.station)
                    yield check
                return
        experiment, model = load(self.folder)
        yield from weight_checks(self.folder, model)
        count = 0
        for check in self._all(experiment, model):
            count += 1
            yield check
        if not count:
            raise UserError(f"{self.folder.path}: nothing to compare: no outputs and no beams that aedo knows")

    def left_over(self) -> list[str]:
        """Arrays of the folder that no check looked at."""
        not_computed = {"grad_norms_names", "dec_input_labels"}
        return sorted(set(self.folder.outputs) - set(self.compared) - not_computed)

    def _all(self, experiment: Experiment, model: AED) -> Iterator[Check]:
        if self.folder.outputs:
            yield from self._forward(experiment, model.eval(), "")
        yield from beams.checks(self.folder, model.eval())
        if any(name.startswith(("train", "grad", "running_after/")) for name in self.folder.outputs):
            yield from self._forward(experiment, without_randomness(model), "train/")

    def _forward(self, experiment: Experiment, model: AED, prefix: str) -> Iterator[Check]:
        reference, inputs = self.folder.outputs, self.folder.inputs
        with torch.set_grad_enabled(bool(prefix)):
            passed = run(model, inputs)
            totals = totals_of(experiment, model, inputs, passed)
            stations = Stations(model, inputs, passed, smoothing=float(experiment.loss.label_smoothing))  # type: ignore[arg-type]
        for name, loss in totals.values.items():
            stations.values[name] = Value("losses", loss, "whole")
        if not prefix:
            for name, array in reference.items():
                foreign = tensorflow.value_of(name, array, model, stations, totals.values)
                if foreign is not None:
                    stations.values[name] = foreign
        for station, value in stations.values.items():
            name = f"train_{station}" if prefix and station.startswith("total_loss") else prefix + station
            if name in reference:
                self.compared.append(name)
                difference, note = stations.compare(station, reference[name])
                yield Check(f"{value.part}{', training' if prefix else ''}", name, difference, VALUE, note)
        if prefix:
            kinks = partial(kink_allowances, experiment, model, inputs)
            for check in (*gradient_checks(model, totals, reference, kinks), *statistics_checks(model, reference)):
                self.compared.append(check.station)
                yield check
