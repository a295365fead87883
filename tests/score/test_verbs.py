"""recog, transcribe and score as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from aedo.commands import recog, score, transcribe
from aedo.errors import UserError
from aedo.run import RunFolder
from aedo.search.choose import choose, preferred
from tests.score.runs import TEXTS, write_audio, write_data, write_run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> RunFolder:
    """A run nothing writes to."""
    return write_run(tmp_path_factory.mktemp("runs") / "finished", data)


@pytest.fixture
def run(tmp_path: Path, data: Path) -> RunFolder:
    return write_run(tmp_path / "run", data, epochs=2)


def call(*words: object) -> Result:
    app = typer.Typer()
    for verb in (recog, transcribe, score):
        verb.register(app)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def results(run: RunFolder, label: str, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((run.recog_folder / label / f"{name}.json").read_text())
    return found


def test_default_checkpoints_are_the_fixed_the_best_two_the_last_and_the_averages(finished: RunFolder) -> None:
    labels = [c.label for c in choose(finished, None)]
    # fixed for 8 epochs: every 4th, and 5; best two by every dev measure: 3 and, of 2 and 4, the earlier one
    assert labels == [*(f"epoch-{e:04d}" for e in (2, 3, 4, 5, 8)), "average-last10pct"]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("last", ["epoch-0008"]),
        ("best", ["epoch-0003"]),
        ("average", ["average-last10pct"]),
        ("best,epoch-0001,best", ["epoch-0001", "epoch-0003"]),
    ],
)
def test_checkpoints_are_named(finished: RunFolder, which: str, expected: list[str]) -> None:
    assert [c.label for c in choose(finished, which)] == expected
    assert len(choose(finished, "all")) == 9
    assert preferred(finished).label == "average-last10pct"


def test_an_unknown_checkpoint_is_refused_with_those_there_are(finished: RunFolder) -> None:
    with pytest.raises(UserError, match=r"no checkpoint 'epoch-0099'.*epoch-0001"):
        choose(finished, "epoch-0099")


def test_recog_writes_one_line_an_utterance_and_the_totals(run: RunFolder) -> None:
    output = call("recog", run.path, "--checkpoint", "last").output
    assert "epoch-0002" in output
    lines = [json.loads(x) for x in (run.recog_folder / "epoch-0002" / "dev.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"dev-{i}" for i in range(4)]
    assert [line["ref"] for line in lines] == list(TEXTS)
    assert set(lines[0]) == {"id", "speaker", "ref", "hyp", "score", "duration", "audio"}
    totals = results(run, "epoch-0002", "test")
    assert totals["set"] == "test"
    assert totals["checkpoint"] == "epoch-0002"
    assert totals["search"]["method"] == "joint"  # type: ignore[index]
    assert totals["search"]["beam"] == 3  # type: ignore[index]
    assert totals["words"] == sum(len(text.split()) for text in TEXTS)
    assert totals["utterances"] == 4
    assert totals["audio_seconds"] == pytest.approx(0.6 + 0.8 + 1.0 + 1.2)
    assert not (run.recog_folder / "epoch-0002" / "train.json").exists()


def test_recog_keeps_what_is_decoded_until_checkpoint_search_or_data_change(run: RunFolder) -> None:
    path = run.recog_folder / "epoch-0001" / "dev.json"
    call("recog", run.path, "--sets", "dev", "--checkpoint", "epoch-0001")
    first = path.stat().st_mtime_ns
    call("recog", run.path, "--sets", "dev", "--checkpoint", "epoch-0001")
    assert path.stat().st_mtime_ns == first
    call("recog", run.path, "--sets", "dev", "--checkpoint", "epoch-0001", "--again")
    second = path.stat().st_mtime_ns
    assert second > first
    described = run.checkpoint_folder / "epoch-0001" / "checkpoint.json"
    described.write_text(described.read_text().replace('"update": 10', '"update": 11'))
    call("recog", run.path, "--sets", "dev", "--checkpoint", "epoch-0001")
    assert path.stat().st_mtime_ns > second


def test_other_searches_do_not_overwrite_the_run_s_own(run: RunFolder) -> None:
    def recog(*options: str) -> None:
        call("recog", run.path, "--sets", "dev", "--checkpoint", "last", *options)

    recog("--beam", "1")
    recog("--ctc-greedy")
    recog("--beam", "3")
    recog("--search", "attention", "--beam", "1")
    recog("--search", "joint-time")
    recog("--search", "ctc-prefix")
    recog("--search", "ctc")
    found: dict[str, Any] = {path.name: results(run, path.name, "dev")["search"] for path in run.recog_folder.iterdir()}
    assert {name: (search["method"], search.get("beam")) for name, search in found.items()} == {
        "epoch-0002": ("joint", 3),
        "epoch-0002+beam1": ("joint", 1),
        "epoch-0002+ctc-greedy": ("ctc-greedy", None),
        "epoch-0002+attention+beam1": ("beam", 1),
        "epoch-0002+joint-time": ("joint_time", 3),
        "epoch-0002+ctc-prefix": ("ctc_prefix", 3),
    }
    assert found["epoch-0002+attention+beam1"] == {"method": "beam", "beam": 1, "length_normalization": 1.0}


def test_lists_of_the_best_hypotheses_are_written_on_request(run: RunFolder) -> None:
    call("recog", run.path, "--sets", "dev", "--checkpoint", "last", "--nbest", "2", "--search", "attention")
    path = run.recog_folder / "epoch-0002+attention" / "dev.jsonl"
    for line in path.read_text().splitlines():
        content = json.loads(line)
        assert len(content["nbest"]) == 2
        assert content["nbest"][0] == {"hyp": content["hyp"], "score": content["score"]}
        assert content["nbest"][0]["score"] >= content["nbest"][1]["score"]


def test_a_model_without_decoder_is_decoded_by_ctc(tmp_path: Path, data: Path) -> None:
    run = write_run(tmp_path / "ctc", data, epochs=1, decoder=False)
    call("recog", run.path, "--sets", "dev", "--checkpoint", "last")
    assert results(run, "epoch-0001", "dev")["search"] == {"method": "ctc-greedy"}


def test_unusable_audio_counts_as_not_recognised_and_is_named(tmp_path: Path, run: RunFolder) -> None:
    data = write_data(tmp_path / "damaged")
    (data / "dev-1.wav").write_bytes(b"")
    output = call("recog", run.path, "--sets", "dev", "--checkpoint", "last", "--data", data).output
    assert "1 utterances have unusable audio" in output
    lines = [json.loads(x) for x in (run.recog_folder / "epoch-0002" / "dev.jsonl").read_text().splitlines()]
    assert lines[1]["hyp"] == ""
    assert lines[1]["problem"] == "audio file has 0 bytes"
    assert results(run, "epoch-0002", "dev")["words"] == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sets", "dev,evil"], "no split 'evil'; there are dev, test, train"),
        (["--data", "nowhere"], "nowhere: no such folder; give --data DIR"),
        (["--device", "tpu9"], "--device tpu9: unknown"),
        (["--beam", "4", "--ctc-greedy"], "--ctc-greedy keeps a single path"),
        (["--search", "magic"], "--search magic: unknown; use attention, joint, "),
        (["--search", "joint", "--ctc-greedy"], "contradict each other"),
    ],
)
def test_recog_refuses_what_it_cannot_do(finished: RunFolder, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call("recog", finished.path, "--checkpoint", "last", *options)


def test_recog_refuses_weights_of_another_model(
    run: RunFolder, finished: RunFolder, tmp_path: Path, data: Path
) -> None:
    other = write_run(tmp_path / "other", data, epochs=1, decoder=False)
    weights = run.checkpoint_folder / "epoch-0002" / "model.safetensors"
    weights.write_bytes((other.checkpoint_folder / "epoch-0001" / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="not weights of this experiment: missing decoder"):
        call("recog", run.path, "--checkpoint", "last")
    weights.write_bytes(b"broken")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        call("recog", run.path, "--checkpoint", "last")


def test_transcribe_prints_the_text_of_any_format(finished: RunFolder, tmp_path: Path) -> None:
    stereo = write_audio(tmp_path / "stereo.flac", 1.0, 1, rate=44100, channels=2)
    result = call("transcribe", stereo, "--run", finished.path)
    assert result.exit_code == 0
    (text,) = result.stdout.splitlines()
    several = call("transcribe", stereo, stereo, "--run", finished.path).stdout.splitlines()
    assert several == [f"{stereo}: {text}"] * 2


def test_transcribe_goes_on_after_a_bad_file_and_ends_with_status_2(finished: RunFolder, tmp_path: Path) -> None:
    good, bad = write_audio(tmp_path / "good.wav", 0.8, 1), tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    result = call("transcribe", tmp_path / "missing.wav", bad, good, "--run", finished.path)
    assert result.exit_code == 2
    assert "missing.wav: audio file is missing" in result.stderr
    assert "bad.wav: audio is unreadable" in result.stderr
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [str(good)]


def test_score_shows_totals_speakers_and_aligned_errors(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "speaker": "ann", "ref": "the cat sat", "hyp": "the cut sat"},
        {"id": "b", "speaker": "bob", "ref": "go on", "hyp": "go on now"},
    ]
    path = tmp_path / "dev.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = call("score", path).output
    assert "WER 40.00 %" in output
    assert "2 errors in 5 words = 1 substituted + 0 deleted + 1 inserted" in output
    assert "HYP: the cut sat" in output
    assert output.index("bob") < output.index("ann  ")  # the worse speaker first
    assert json.loads(call("score", path, "--json").output)["wer"] == pytest.approx(40.0)
    paired = call("score", path, "--against", path).output
    assert "+0.00 points of WER" in paired
    assert "not significant" in paired


def test_score_reads_plain_and_trn_files_and_normalises(tmp_path: Path) -> None:
    ref, hyp = tmp_path / "ref.txt", tmp_path / "hyp.trn"
    ref.write_text("u1 Hello, world\nu2 good bye\n\n")
    hyp.write_text("good bye (u2)\nhello word (u1)\n")
    found = json.loads(call("score", "--ref", ref, "--hyp", hyp, "--normalize", "nopunct,lower", "--json").output)
    assert (found["words"], found["substitutions"], found["deletions"], found["insertions"]) == (4, 1, 0, 0)


@pytest.mark.parametrize(
    ("ref", "hyp", "message"),
    [
        ("u1 a\nu2 b\n", "u1 a\n", "hyp.txt: utterance u2 is missing"),
        ("u1 a\n", "u1 a\nu3 c\n", "ref.txt: utterance u3 is missing"),
        ("u1 a\nu1 b\n", "u1 a\n", "ref.txt: utterance u1 comes twice"),
        ("u1\n", "u1 a\n", "the references have no words"),
        ("", "u1 a\n", "ref.txt: holds no utterance"),
    ],
)
def test_score_refuses_texts_that_do_not_match(tmp_path: Path, ref: str, hyp: str, message: str) -> None:
    (tmp_path / "ref.txt").write_text(ref)
    (tmp_path / "hyp.txt").write_text(hyp)
    with pytest.raises(UserError, match=message):
        call("score", "--ref", tmp_path / "ref.txt", "--hyp", tmp_path / "hyp.txt")


def test_score_names_the_line_it_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a", "ref": "x", "hyp": "x"}\n{"id": "b"\n')
    with pytest.raises(UserError, match=r"x\.jsonl:2: not valid JSON"):
        call("score", path)
    path.write_text('{"id": "a", "ref": "x"}\n')
    with pytest.raises(UserError, match=r"x\.jsonl:1: has no text in field 'hyp'; there are id, ref"):
        call("score", path)
