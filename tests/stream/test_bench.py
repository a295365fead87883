import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from aedo.commands import bench
from tests.score.runs import write_data
from tests.stream.runs import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("prepared") / "data")


def call(*words):
    app = typer.Typer()
    bench.register(app)
    app.command()(lambda: None)
    before = torch.get_num_threads()
    try:
        return CliRunner().invoke(app, ["bench", *map(str, words)])
    finally:
        torch.set_num_threads(before)


def test_latency_speed_memory_and_streams_at_once(run, data, monkeypatch):
    monkeypatch.setattr("aedo.stream.bench._MOST", 3)
    found = json.loads(call("--stream", run.path, "--data", data, "--seconds", 4, "--threads", 1, "--json").stdout)
    assert found["latency_ms"]["worst"] == pytest.approx(180 + 120 + 15)
    assert found["real_time_factor"] > 0
    assert len(found["carried_bytes"]) == len(found["resident_bytes"]) == 10
    assert max(found["carried_bytes"]) < 50_000
    assert found["together"][0]["streams"] == 1
    assert found["capacity"] >= 1
    assert found["threads"] == 1


def test_the_same_as_text(run, data, monkeypatch):
    monkeypatch.setattr("aedo.stream.bench._MOST", 1)
    text = call("--stream", run.path, "--data", data, "--seconds", 1).stdout
    assert "algorithmic latency: 315 ms at most, 225 ms on average" in text
    assert "streams at once in real time" in text


def test_streams_need_audio_and_take_no_options_of_steps(run, data):
    assert "--data DIR" in str(call("--stream", run.path).exception)
    assert "--labels" in str(call("--stream", run.path, "--data", data, "--labels", 3).exception)
    assert "--seconds" in str(call("tiny", "--seconds", 3).exception)
