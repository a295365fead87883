"""transcribe, align and calibrate as a user calls them, and aedo.load."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

import aedo
from aedo.commands import align, calibrate, transcribe
from aedo.data.manifest import Manifest
from aedo.errors import UserError
from aedo.run import RunFolder
from aedo.score.calibrate import left_out_together, right_words
from aedo.score.decode import SetOfCuts
from tests.score.runs import TEXTS, write_data
from tests.search.speech import write_outspoken_run, write_talk


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> RunFolder:
    return write_outspoken_run(tmp_path_factory.mktemp("runs") / "run", data)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talk(tmp_path_factory.mktemp("sounds") / "talk.wav")


def call(*words: object) -> Result:
    app = typer.Typer()
    for verb in (transcribe, align, calibrate):
        verb.register(app)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def test_a_recording_is_cut_at_its_pauses_and_its_words_have_times(run: RunFolder, talk: Path) -> None:
    found = json.loads(call("transcribe", talk, "--run", run.path, "--json", "--search", "ctc").stdout)
    assert found["file"] == str(talk)
    assert found["seconds"] == pytest.approx(12.2)
    assert found["calibrated"] is False
    assert len(found["segments"]) == 3
    for segment in found["segments"]:
        for word in segment["words"]:
            assert segment["start"] <= word["start"] < word["end"] <= segment["end"]
            assert 0 <= word["confidence"] <= 1


def test_files_are_written_beside_each_other(run: RunFolder, talk: Path, tmp_path: Path) -> None:
    for kind, start in (("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n"), ("txt", "")):
        assert (
            call("transcribe", talk, "--run", run.path, "--format", kind, "-o", tmp_path, "--ctc-greedy").stdout == ""
        )
        assert (tmp_path / f"talk.{kind}").read_text().startswith(start)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "doc"), "unknown; use txt, json, srt, vtt"),
        (("--json", "--format", "srt"), "contradict"),
        (("--ctc-greedy", "--search", "joint"), "contradict"),
        (("--ctc-greedy", "--beam", "3"), "single one"),
        (("--precision", "int4"), "unknown; use float32"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    words: tuple[str, ...], message: str, run: RunFolder, talk: Path
) -> None:
    with pytest.raises(UserError, match=message):
        call("transcribe", talk, "--run", run.path, *words)


def test_subtitles_of_several_files_need_a_folder(run: RunFolder, talk: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --out FOLDER"):
        call("transcribe", talk, talk, "--run", run.path, "--format", "srt")
    with pytest.raises(UserError, match="comes twice"):
        call("transcribe", talk, talk, "--run", run.path, "-o", tmp_path)


def test_a_prepared_set_is_aligned(run: RunFolder, data: Path, tmp_path: Path) -> None:
    result = call("align", "--run", run.path, "--data", data, "--sets", "dev")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    fitting = [TEXTS[i] for i in (0, 2, 3)]
    assert [" ".join(word["word"] for word in one["words"]) for one in found] == fitting
    assert "dev-1: the text does not fit: 13 labels need 14 frames" in result.stderr
    assert result.exit_code == 2
    for one in found:
        times = [time for word in one["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= one["seconds"]
    call("align", "--run", run.path, "--data", data, "--sets", "dev,test", "--format", "ctm", "-o", tmp_path)
    assert (tmp_path / "test.ctm").read_text().splitlines()[0].split()[::4] == ["test-0", "one"]


def test_files_are_aligned_with_the_text_beside_them(run: RunFolder, talk: Path, tmp_path: Path) -> None:
    talk.with_suffix(".txt").write_text("ONE two\n")
    words = ("align", "--run", run.path, talk, "--normalize", "lower", "--format", "textgrid")
    assert 'text = "two"' in call(*words).stdout
    call(*words, "-o", tmp_path)
    assert (tmp_path / "talk.TextGrid").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--text", ""), "text is empty"),
        (("--text", "ONE two"), "does not know all of 'ONE'"),
        (("--text", "one two " * 60), "the text does not fit: 479 labels need"),
        (("--text", "one", "--max-seconds", "5"), "12.2 s, more than --max-seconds 5"),
    ],
)
def test_a_text_that_cannot_be_aligned_says_why(
    words: tuple[str, ...], message: str, run: RunFolder, talk: Path
) -> None:
    result = call("align", "--run", run.path, talk, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_file_without_text_or_sound_does_not_stop_the_others(run: RunFolder, talk: Path, tmp_path: Path) -> None:
    talk.with_suffix(".txt").write_text("one")
    lonely = write_talk(tmp_path / "lonely.wav")
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    broken.with_suffix(".txt").write_text("one")
    result = call("align", "--run", run.path, lonely, broken, talk)
    assert result.exit_code == 2
    assert "lonely.txt: no text" in result.stderr
    assert "broken.wav: audio is unreadable" in result.stderr
    assert json.loads(result.stdout)["id"] == "talk"


def test_align_refuses_half_a_command(run: RunFolder, data: Path, talk: Path) -> None:
    for words, message in (
        ((), "give audio files or --data"),
        ((talk, "--data", data, "--sets", "dev"), "one of the two"),
        (("--data", data), "which of its splits"),
        ((talk, talk, "--text", "one"), "single file"),
        ((talk, "--format", "doc"), "unknown"),
    ):
        with pytest.raises(UserError, match=message):
            call("align", "--run", run.path, *words)


def test_confidence_is_not_fitted_to_a_handful_of_words(run: RunFolder) -> None:
    with pytest.raises(UserError, match="ten right and ten wrong"):
        call("calibrate", run.path)
    assert right_words(["a", "b", "c"], ["a", "x", "c", "d"]) == [True, False, True, False]


def test_load_gives_a_transcriber_in_three_lines(run: RunFolder, talk: Path) -> None:
    transcriber = aedo.load(run.path, device="cpu", search="ctc")
    transcript = transcriber.transcribe(talk)
    assert transcript.text == " ".join(word.text for word in transcript.words) != ""


def test_importing_aedo_imports_nothing_heavy() -> None:
    code = "import sys, aedo; aedo.load; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_words_of_a_speaker_are_left_out_of_the_fit_together(data: Path) -> None:
    cuts = SetOfCuts.read(Manifest.open(data, "dev"), "dev", data)
    assert left_out_together(cuts, [0, 0, 1, 2, 3]) == ([0, 0, 1, 0, 1], "speakers")
    alone = replace(cuts, cuts=[cuts.cuts[0], cuts.cuts[2]])
    assert left_out_together(alone, [0, 0, 1]) == ([0, 0, 1], "utterances"), "of a single speaker"
