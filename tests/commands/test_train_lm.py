from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aedo.cli import build
from aedo.data.text import TokenizerConfig, load_tokenizer, train_tokenizer
from aedo.errors import UserError
from aedo.lm.load import load_lm
from tests.train.micro import write_data

TEXT = "a bad cab\nface a bead\nab\ncab dab\n" * 10


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(build(), ["train-lm", *map(str, arguments)], catch_exceptions=True)


def refused(*arguments: object) -> str:
    found = invoke(*arguments)
    assert isinstance(found.exception, UserError), found.output
    return str(found.exception)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    train_tokenizer(TokenizerConfig(kind="char"), [TEXT], tmp_path / "tokenizer")
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "tokenizer"


@pytest.mark.parametrize("options", [("--ngram", 3), ("--layers", 1, "--dim", 8, "--heads", 2, "--epochs", 1)])
def test_both_kinds_from_a_text(tmp_path: Path, tokenizer: Path, options: tuple[object, ...]) -> None:
    out = tmp_path / "lm"
    found = invoke(tmp_path / "text.txt", "--tokenizer", tokenizer, "-o", out, *options)
    assert found.exit_code == 0, found.output
    assert "38 sentences" in found.output  # two are held out
    assert "held-out text: perplexity" in found.output
    assert f"written to {out}" in found.output
    assert "how the recogniser's transcripts were normalised is not known" in found.output
    load_lm(out, load_tokenizer(out / "tokenizer"))
    about = json.loads((out / "lm.json").read_text())["about"]
    assert about["normalize"] == "none"
    assert about["perplexity"]["sentences"] == 2


def test_transcripts_of_prepared_data_are_measured_on_its_dev_split(tmp_path: Path, tokenizer: Path) -> None:
    data = write_data(tmp_path / "data", train=30, dev=4)
    found = invoke("--data", data, "--tokenizer", tokenizer, "-o", tmp_path / "lm", "--ngram", 2)
    assert found.exit_code == 0, found.output
    assert "30 sentences" in found.output
    assert "4 sentences" in found.output


def test_texts_go_through_the_steps_asked_for(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "upper.txt").write_text(TEXT.upper())
    options = ("--tokenizer", tokenizer, "-o", tmp_path / "lm", "--ngram", 2)
    message = refused(tmp_path / "upper.txt", *options)
    assert "40 of 40 lines hold characters" in message
    assert "upper.txt:1, " in message
    found = invoke(tmp_path / "upper.txt", *options, "--normalize", "lower", "--dev", tmp_path / "text.txt")
    assert found.exit_code == 0, found.output
    assert "normalised: lower" in found.output


def test_lines_that_cannot_be_spelled_are_left_out_on_request(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "more.txt").write_text(TEXT + "x-ray\n")
    options = (tmp_path / "more.txt", "--tokenizer", tokenizer, "-o", tmp_path / "lm", "--ngram", 2)
    assert "1 of 41 lines" in refused(*options)
    found = invoke(*options, "--leave-out")
    assert found.exit_code == 0, found.output
    assert "lines left out" in found.output
    assert "more.txt:41" in found.output


def test_options_that_do_not_go_together_are_refused(tmp_path: Path, tokenizer: Path) -> None:
    text, out = tmp_path / "text.txt", ("-o", tmp_path / "lm")
    assert "give --run RUN" in refused(text, *out)
    assert "no text" in refused("--tokenizer", tokenizer, *out)
    assert "mean nothing" in refused(text, "--tokenizer", tokenizer, "--ngram", 2, "--layers", 2, *out)
    assert "heads of even size" in refused(text, "--tokenizer", tokenizer, "--dim", 10, "--heads", 4, *out)
    assert "no such file" in refused(text, "--tokenizer", tmp_path / "none", *out)
    assert "not a run folder" in refused(text, "--run", tmp_path, *out)
    assert "no prepared training data" in refused("--data", tmp_path / "none", "--tokenizer", tokenizer, *out)


def test_an_ngram_model_does_not_replace_what_is_there(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "lm").mkdir()
    assert "exists already" in refused(
        tmp_path / "text.txt", "--tokenizer", tokenizer, "-o", tmp_path / "lm", "--ngram", 2
    )


def test_text_cut_into_labels_for_other_tools(tmp_path: Path, tokenizer: Path) -> None:
    out = tmp_path / "labels.txt"
    found = invoke(tmp_path / "text.txt", "--tokenizer", tokenizer, "--only-cut", "-o", out)
    assert found.exit_code == 0, found.output
    assert out.read_text().splitlines()[:3] == ["a ▁ b a d ▁ c a b", "f a c e ▁ a ▁ b e a d", "a b"]
    assert f"lmplz -o 4 --vocab_pad {load_tokenizer(tokenizer).size}" in found.output
    assert "--only-cut trains no model" in refused(
        tmp_path / "text.txt", "--tokenizer", tokenizer, "--only-cut", "--ngram", 2, "-o", out
    )
    (tmp_path / "bad.txt").write_text("x-ray\n")
    assert "1 of 1 lines" in refused(
        tmp_path / "bad.txt", "--tokenizer", tokenizer, "--only-cut", "-o", tmp_path / "none.txt"
    )
    assert not list(tmp_path.glob("*none*"))
