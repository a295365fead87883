from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aedo.data.text import CharTokenizer
from aedo.errors import UserError
from aedo.lm.arpa import write_arpa
from aedo.lm.load import Description, load_lm, write_transformer
from aedo.lm.ngram import NgramLM
from aedo.lm.transformer_lm import TransformerLmConfig
from tests.lm.toy import CPU, estimated, some_labels, transformer_lm

TOKENIZER = CharTokenizer(list("abcde"))
CONFIG = TransformerLmConfig.model_validate(
    {"layers": 2, "dim": 16, "heads": 2, "feed_forward": {"dim": 24, "activation": "swiglu", "bias": False}}
)


def write(folder: Path) -> Path:
    folder.mkdir()
    write_transformer(folder, transformer_lm(), CONFIG, TOKENIZER.digest, {})
    return folder


def test_a_transformer_comes_back_with_its_weights(tmp_path: Path) -> None:
    loaded, labels = load_lm(write(tmp_path / "lm"), TOKENIZER), some_labels(7, [3, 1])
    assert not any(module.training for module in loaded.modules())  # type: ignore[union-attr]
    assert torch.equal(loaded.log_probs(labels), transformer_lm().log_probs(labels))


def test_an_arpa_file_is_a_language_model(tmp_path: Path) -> None:
    write_arpa(tmp_path / "lm.arpa", *estimated(2))
    loaded = load_lm(tmp_path / "lm.arpa", TOKENIZER)
    assert isinstance(loaded, NgramLM)
    assert loaded.scorer(2, CPU).start().contexts.shape == (2, 1)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "lm")
    with pytest.raises(UserError, match=r"made for another tokenizer \(7 labels.*than the recogniser's \(8 labels"):
        load_lm(tmp_path / "lm", CharTokenizer(list("abcdef")))
    with pytest.raises(UserError, match="made for another tokenizer"):
        load_lm(tmp_path / "lm", CharTokenizer(list("abcdf")))


def test_folders_that_hold_no_language_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no language model: it has no lm.json"):
        load_lm(tmp_path, TOKENIZER)
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(UserError, match="not trained to the end"):
        load_lm(tmp_path, TOKENIZER)
    (tmp_path / "lm.json").write_text("[]")
    with pytest.raises(UserError, match="not the description of a language model"):
        load_lm(tmp_path, TOKENIZER)


def test_kind_and_sizes_belong_together(tmp_path: Path) -> None:
    folder = write(tmp_path / "lm")
    content = json.loads((folder / "lm.json").read_text())
    (folder / "lm.json").write_text(json.dumps(content | {"kind": "ngram"}))
    with pytest.raises(UserError, match="a model of kind ngram has one"):
        Description.read(folder)


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "lm")
    content = json.loads((folder / "lm.json").read_text())
    content["transformer"]["layers"] = 3
    (folder / "lm.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"missing layers\.2"):
        load_lm(folder, TOKENIZER)
