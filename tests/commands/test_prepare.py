from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from aedo.commands import prepare
from aedo.errors import UserError
from tests.data.sounds import noise, write


def run(*arguments: str | Path) -> str:
    """Standard output of `aedo prepare ...`; a UserError comes through."""
    app = typer.Typer(callback=lambda: None)
    prepare.register(app)
    result = CliRunner().invoke(app, ["prepare", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def real_corpora() -> Path:
    folder = Path(os.environ.get("AEDO_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "an4").is_dir():
        pytest.skip("no real corpora: set AEDO_TEST_DATA to a folder with an4 and librispeech-mini")
    return folder


def test_a_table_is_prepared_from_the_command_line(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / f"{i}.wav", noise(seed=i), 8000)
    lines = [f"{i}.wav\tHello no. {i}!\ts{i}\n" for i in range(4)]
    (tmp_path / "t.tsv").write_text("path\ttext\tspeaker\n" + "".join(lines) + "5.wav\n")
    output = run(
        *("table", tmp_path / "t.tsv", "-o", tmp_path / "out", "--resample"),
        *("--normalize", "nopunct,upper", "--dev-speakers", "1", "--jobs", "1"),
    )
    assert "train: 3 utterances, 0.00 h, 3 speakers" in output
    assert "dev: 1 utterances, 0.00 h, 1 speakers" in output
    assert "refused: 1 x corrupt table line" in output
    line = json.loads((tmp_path / "out" / "dev.jsonl").read_text())
    assert line["supervisions"][0]["text"] == "HELLO NO 3"
    assert line["recording"]["sampling_rate"] == 16000


def test_a_folder_is_prepared_from_the_command_line(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / "in" / f"{i}.ogg", noise(seed=i)).with_suffix(".txt").write_text("hello")
    output = run("folder", tmp_path / "in", "-o", tmp_path / "out", "--dev-fraction", "0.25")
    assert "dev: 1 utterances, 0.00 h, unknown speakers" in output


def test_a_wrong_rate_without_resampling_is_an_error_with_the_mend(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.wav", noise(), 8000).with_suffix(".txt").write_text("hello")
    with pytest.raises(UserError, match="run aedo prepare with --resample"):
        run("folder", tmp_path / "in", "-o", tmp_path / "out")


def test_a_synthetic_corpus_is_prepared_from_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra `synth` is not installed")
    output = run(
        *("synthetic", "-o", tmp_path, "--train", "8", "--dev", "2", "--test", "2", "--speakers", "2", "--jobs", "1")
    )
    assert "train: 8 utterances" in output
    assert (tmp_path / "corpus" / "SPEAKERS.TXT").exists()


@pytest.mark.parametrize("corpus", ["an4", "librispeech-mini"])
@pytest.mark.slow
def test_real_corpora_are_prepared_whole(tmp_path: Path, corpus: str) -> None:
    run("librispeech", real_corpora() / corpus, "-o", tmp_path, "--dev-speakers", "1")
    card = json.loads((tmp_path / "card.json").read_text())
    manifest = (real_corpora() / corpus / "manifest.jsonl").read_text().splitlines()
    assert sum(split["utterances"] for split in card["splits"].values()) == len(manifest)
    assert card["refused"] == []
