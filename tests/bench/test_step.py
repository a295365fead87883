"""The step taken apart is the step, and its parts make up the whole."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from aedo.bench.machine import matrix_throughput
from aedo.bench.parts import PARTS, SPEECH, Bench, Shape, Stopwatch, kind_of, watch
from aedo.bench.step import Wanted, breakdown, shape_of
from aedo.cli import build
from aedo.errors import UserError
from aedo.recipes.names import resolve
from tests.train.micro import micro_experiment

CPU = torch.device("cpu")
SHAPE = Shape(utterances=2, samples=16_000, labels=5)
REST = 0.25
"""Most of a step that may belong to no part; of a tiny model, the step itself is a good deal."""


def test_the_parts_sum_to_the_whole() -> None:
    steps = Bench(micro_experiment(), 11, SHAPE, CPU).run(3)
    whole = sum(steps.median(part) for part in steps.parts)
    assert list(steps.parts) == [*PARTS, "other"]
    assert all(steps.median(part) > 0 for part in PARTS)
    assert steps.median("other") < REST * whole
    assert steps.memory is None or steps.memory > 0
    assert sum(steps.kinds.values()) == pytest.approx(1.0)


def test_what_is_taken_apart_is_the_training_step_itself() -> None:
    plain, watched = (Bench(micro_experiment(), 11, SHAPE, CPU) for _ in range(2))
    before = _attributes(watched)
    losses = plain.step.micro_step(plain._batch(), SPEECH)
    stopwatch = Stopwatch(CPU)
    watch(watched.step, stopwatch)
    found = watched.step.micro_step(watched._batch(), SPEECH)
    stopwatch.leave()
    assert torch.equal(losses.total, found.total)
    for one, other in zip(plain.step.parameters, watched.step.parameters, strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
    assert _attributes(watched) == before, "nothing is left of the stopwatch"


def _attributes(bench: Bench) -> list[set[str]]:
    step = bench.step
    owners = (step, step.objective, step.model, step.model.features, step.model.decoder)
    return [set(vars(owner)) for owner in owners]


def test_calls_inside_others_count_once() -> None:
    stopwatch = Stopwatch(CPU)
    with stopwatch.measuring("outer"), stopwatch.measuring("inner"):
        torch.rand(200, 200) @ torch.rand(200, 200)
    with stopwatch.measuring("both"):
        pass
    assert stopwatch.seconds["outer"] < stopwatch.seconds["inner"]


def test_without_a_decoder_its_part_is_empty() -> None:
    experiment = micro_experiment().with_("decoder", None)
    steps = Bench(experiment, 11, SHAPE, CPU).run(1)
    assert steps.parts["decoder"] == [0.0]
    assert steps.median("CTC") > 0


def test_a_batch_is_as_large_as_the_experiments_unless_told_otherwise() -> None:
    v6 = resolve("base-24gb-v6")
    assert shape_of(v6, Wanted()) == Shape(utterances=33, samples=6_400_000 // 33, labels=48)
    wanted = Wanted(batch_seconds=40.0, utterances=4, labels=40)
    assert shape_of(v6, wanted) == Shape(utterances=4, samples=160_000, labels=40)


def test_numbers_agree_with_each_other() -> None:
    found = breakdown("micro", micro_experiment(), CPU, Wanted(batch_seconds=2.0, utterances=2, labels=5, steps=1))
    assert sum(found.floors().values()) == pytest.approx(found.work.training / found.rate)
    assert found.utilization == pytest.approx(found.work.training / found.rate / found.seconds)
    assert found.audio_per_second == pytest.approx(2.0 / found.seconds)
    text = found.as_text()
    assert all(part in text for part in PARTS)
    assert json.loads(json.dumps(found.as_json()))["mfu"] == pytest.approx(found.utilization)


def test_throughput_of_this_machine_is_that_of_a_computer() -> None:
    assert 1e8 < matrix_throughput(CPU, torch.float32, seconds=0.02) < 1e15


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::addmm", "products"),
        ("aten::bernoulli_", "random numbers"),
        ("aten::_log_softmax", "softmax, losses"),
        ("aten::native_layer_norm", "norms"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::copy_", "copies"),
        ("aten::mul", "element by element"),
    ],
)
def test_operators_have_kinds(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind


def test_a_precision_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="int8: unknown; use float32"):
        breakdown("micro", micro_experiment(), CPU, Wanted(precision="int8"))


def test_the_command_prints_a_table_or_json() -> None:
    options = ["bench", "base-tiny", "--batch-seconds", "2", "--utterances", "2", "--steps", "1"]
    plain = CliRunner().invoke(build(), options)
    assert plain.exit_code == 0, plain.output
    assert "s of audio per second; MFU" in plain.output
    found = json.loads(CliRunner().invoke(build(), [*options, "--json"]).stdout)
    assert set(found["parts"]) == {*PARTS, "other"}


def test_the_command_wants_one_thing_to_measure(tmp_path: object) -> None:
    for arguments in (["bench"], ["bench", "base-tiny", "--data", str(tmp_path)]):
        result = CliRunner().invoke(build(), arguments)
        assert isinstance(result.exception, UserError)
    result = CliRunner().invoke(build(), ["bench", "--data", str(tmp_path), "--labels", "3"])
    assert isinstance(result.exception, UserError)
    assert "--labels has no meaning" in str(result.exception)
