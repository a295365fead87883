"""From nothing to transcripts and a page, by the commands a user types; the error rate is not the point here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aedo.cli import build
from aedo.run import RunFolder

NAME = "tiny-ep2-n2-aux2-d32ff64-bs1k"


def aedo(*words: object) -> Result:
    result = CliRunner().invoke(build(), [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader", reason="needs the extra synth")
    folder = tmp_path_factory.mktemp("e2e")
    aedo("prepare", "synthetic", "-o", folder / "data", "--train", 24, "--dev", 4, "--test", 4, "--speakers", 3)
    aedo("train", NAME, "--data", folder / "data", "--out", folder / "runs")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


def test_speakers_and_sentences_of_the_splits_are_disjoint(folder: Path) -> None:
    seen: dict[str, set[str]] = {}
    for split in ("train", "dev", "test"):
        cuts = [json.loads(line) for line in (folder / "data" / f"{split}.jsonl").open()]
        for kind in ("speaker", "text"):
            values = {cut["supervisions"][0][kind] for cut in cuts}
            assert not values & seen.setdefault(kind, set()), (split, kind)
            seen[kind] |= values


def test_training_leaves_a_whole_run_folder_and_a_second_call_changes_nothing(folder: Path, run: Path) -> None:
    epochs = RunFolder.open(run).epochs()
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert {"ce", "ler", "ctc_2"} <= set(epochs[-1]["dev"])
    before = {path: path.stat().st_mtime_ns for path in (run / "checkpoints").rglob("*.safetensors")}
    assert any("average" in str(path) for path in before)
    aedo("train", RunFolder.open(run).name, "--data", folder / "data", "--out", folder / "runs")
    assert before == {path: path.stat().st_mtime_ns for path in (run / "checkpoints").rglob("*.safetensors")}


def test_recognition_scores_and_reports(run: Path) -> None:
    table = aedo("recog", run, "--sets", "dev,test", "--checkpoint", "average,last", "--beam", 4).output
    assert "WER" in table
    (totals,) = run.glob("recog/epoch-0002*/test.json")
    assert json.loads(totals.read_text())["utterances"] == 4
    aedo("score", totals.with_suffix(".jsonl"))
    aedo("report", run, "-o", run / "page.html")
    page = (run / "page.html").read_text()
    assert "<html" in page
    assert 'src="http' not in page


def test_any_audio_file_is_transcribed(folder: Path, run: Path) -> None:
    audio = next((folder / "data" / "corpus" / "test").rglob("*.flac"))
    plain = aedo("transcribe", audio, "--run", run)
    assert plain.stdout.strip("\n").count("\n") == 0
    (line,) = aedo("transcribe", audio, "--run", run, "--json").stdout.splitlines()
    assert set(json.loads(line)) >= {"file", "text"}


def test_averaging_adds_a_checkpoint(run: Path) -> None:
    aedo("average", run, "--last", 2)
    assert "average-last2" in {checkpoint.label for checkpoint in RunFolder.open(run).checkpoints()}
