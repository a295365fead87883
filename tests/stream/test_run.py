"""aedo transcribe --stream as a user calls it, and aedo.load(run).stream."""

import json
import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import aedo
from aedo.commands import transcribe
from aedo.errors import UserError
from aedo.stream.run import interrupted
from tests.stream.runs import write_pcm, write_run
from tests.stream.tiny import bursts
from tests.train.micro import micro_experiment

SAMPLES = (bursts(4, 9).clip(-1, 1) * 32767).astype("<i2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def offline(run):
    loaded = aedo.load(run.path)
    return loaded.recognizer.recognize([SAMPLES.astype(np.float32) / 32768])[0].text


def call(*words, audio=b""):
    app = typer.Typer()
    transcribe.register(app)
    app.command()(lambda: None)
    result = CliRunner().invoke(app, ["transcribe", "--stream", *map(str, words)], input=audio)
    if result.exception is not None and not isinstance(result.exception, (SystemExit, UserError)):
        raise result.exception
    return result


def test_standard_input_gives_what_offline_recognition_gives(run, offline):
    assert len(offline.split()) > 3
    found = call("-", "--run", run.path, "--no-partial", audio=SAMPLES.tobytes())
    assert found.stdout.split() == offline.split()


@pytest.mark.parametrize("name", ["a.raw", "a.wav", "a.flac"])
def test_a_file_gives_what_offline_recognition_gives(run, offline, tmp_path, name):
    path = write_pcm(tmp_path / name, SAMPLES.astype(np.float32) / 32767)
    lines = [json.loads(line) for line in call(path, "--run", run.path, "--json").stdout.splitlines()]
    assert [word["word"] for line in lines for word in line["final"]] == offline.split()
    assert any(line["partial"] for line in lines)
    assert [line["ended"] for line in lines] == [False] * (len(lines) - 1) + [True]


def test_a_folder_gets_the_final_words_too(run, offline, tmp_path):
    call("-", "--run", run.path, "--out", tmp_path / "new", audio=SAMPLES.tobytes())
    assert (tmp_path / "new" / "stdin.txt").read_text().split() == offline.split()


def test_half_a_sample_is_an_error_that_keeps_what_was_recognised(run, offline):
    found = call("-", "--run", run.path, "--no-partial", audio=SAMPLES.tobytes() + b"\0")
    assert found.stdout.split() == offline.split()
    assert isinstance(found.exception, UserError)
    assert "odd number of bytes" in str(found.exception)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("-", "-"), "one file"),
        (("-", "--format", "srt"), "txt or json"),
        (("-", "--pause", "1.0"), "--endpoint"),
        (("-", "--endpoint", "0"), "positive"),
        (("-", "--search", "ctc"), "joint or attention"),
        (("missing.raw",), "no such file"),
        (("missing.flac",), "missing"),
    ],
)
def test_what_makes_no_sense_is_refused(run, words, complaint):
    assert complaint in str(call(*words, "--run", run.path).exception)


def test_options_of_streams_are_refused_without_one(run, tmp_path):
    app = typer.Typer()
    transcribe.register(app)
    app.command()(lambda: None)
    result = CliRunner().invoke(app, ["transcribe", "x.wav", "--run", str(run.path), "--endpoint", "1"])
    assert "--stream" in str(result.exception)


def test_a_model_that_hears_utterances_whole_is_refused(tmp_path):
    run = write_run(tmp_path / "whole", micro_experiment())
    assert "an4-stream" in str(call("-", "--run", run.path).exception)


def test_a_reader_that_goes_away_is_told_of_and_gets_nothing_lost(run, offline, tmp_path):
    audio = write_pcm(tmp_path / "a.raw", SAMPLES.astype(np.float32) / 32767)
    command = [
        sys.executable,
        "-m",
        "aedo",
        "transcribe",
        "--stream",
        str(audio),
        "--run",
        str(run.path),
        "--no-partial",
    ]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    message = process.stderr.read()
    assert process.wait() == 2
    assert "standard output was closed" in message
    assert "Traceback" not in message
    kept = (tmp_path / "a.txt").read_text().split()
    assert kept
    assert offline.split()[: len(kept)] == kept
    assert kept[-1] in message


def test_pieces_from_python_give_what_offline_recognition_gives(run, offline):
    loaded = aedo.load(run.path)
    data = SAMPLES.tobytes()
    for pieces in ([data[:777], data[777:]], [SAMPLES], [SAMPLES.astype(np.float32) / 32768]):
        assert " ".join(r.text for r in loaded.stream(iter(pieces), 16000) if r.final) == offline


def test_pieces_of_another_rate_are_refused_at_once(run):
    with pytest.raises(UserError, match=r"8000 Hz.*soxr"):
        aedo.load(run.path).stream([], 8000)


def test_not_a_number_from_python_keeps_what_was_recognised(run):
    samples = SAMPLES.astype(np.float32) / 32768
    results = aedo.load(run.path).stream([samples, np.array([np.nan], np.float32)])
    found = []
    with pytest.raises(UserError, match="piece 2"):
        found.extend(results)
    assert found == list(aedo.load(run.path).stream([samples]))


def test_int8_streams_too(run):
    results = list(aedo.load(run.path, precision="int8").stream([SAMPLES]))
    assert results[-1].ended


def test_an_interrupt_while_waiting_for_audio_is_its_end():
    def blocks():
        yield 1
        raise KeyboardInterrupt

    assert list(interrupted(blocks())) == [1]
