"""Training a tiny Transformer: it learns, a stopped one goes on bit for bit, other settings are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aedo.data.text import TokenizerConfig, train_tokenizer
from aedo.errors import UserError
from aedo.lm.load import Description, load_lm
from aedo.lm.perplexity import Perplexity, perplexity_of
from aedo.lm.texts import Recogniser, Texts
from aedo.lm.train_transformer import train_transformer
from aedo.lm.trainer import LmSettings, LmTrainConfig, plan_of
from aedo.run import load_weights, read_jsonl
from tests.lm.toy import CPU, sentences_of

TEXTS = ["abc", "abcabc", "bca", "cab", "ab", "bcab", "c", "abca"] * 5
TINY: dict[str, Any] = {"model.layers": 1, "model.dim": 16, "model.heads": 2, "epochs": 3, "batch": 40}


@pytest.fixture
def recogniser(tmp_path: Path) -> Recogniser:
    tokenizer = train_tokenizer(TokenizerConfig(kind="char"), ["abc"], tmp_path / "tokenizer")
    return Recogniser(tokenizer, tmp_path / "tokenizer", "none", True)


def texts_for(recogniser: Recogniser) -> Texts:
    tokenizer: Any = recogniser.tokenizer
    return Texts(sentences_of(TEXTS, tokenizer), sentences_of(["abcab", "bc"], tokenizer), {})


def train(
    recogniser: Recogniser, out: Path, stopped: Callable[[], bool] = lambda: False, **given: Any
) -> Perplexity | None:
    settings = LmSettings(CPU, save_minutes=0, log_every=2, say=lambda line: None)
    config = LmTrainConfig.of({**TINY, **given})
    return train_transformer(recogniser, texts_for(recogniser), config, out, {"normalize": "none"}, settings, stopped)


def after(updates: int) -> Callable[[], bool]:
    """A request to stop after so many of them."""
    count = 0

    def stopped() -> bool:
        nonlocal count
        count += 1
        return count == updates

    return stopped


def test_it_learns_and_keeps_the_best_epoch(recogniser: Recogniser, tmp_path: Path) -> None:
    measured = train(recogniser, tmp_path / "lm", epochs=12, learning_rate=1e-2)
    assert measured is not None
    assert measured.per_label < 3.0  # of five labels; the letters follow each other
    model = load_lm(tmp_path / "lm", recogniser.tokenizer)
    again = perplexity_of(model, texts_for(recogniser).held_out)
    assert again.per_label == pytest.approx(measured.per_label, rel=1e-4)
    log = read_jsonl(tmp_path / "lm" / "log.jsonl")
    about = Description.read(tmp_path / "lm").about
    assert about["epoch"] == min(log, key=lambda line: line["dev"]["ce"])["epoch"]
    assert about["perplexity"]["per_label"] == pytest.approx(min(np.exp(line["dev"]["ce"]) for line in log), rel=1e-4)


@pytest.mark.parametrize("updates", [2, 7])
def test_a_stopped_training_goes_on_to_the_very_same_weights(
    recogniser: Recogniser, tmp_path: Path, updates: int
) -> None:
    train(recogniser, tmp_path / "whole")
    assert train(recogniser, tmp_path / "parts", after(updates)) is None
    with pytest.raises(UserError, match="not trained to the end"):
        load_lm(tmp_path / "parts", recogniser.tokenizer)
    torch.manual_seed(99)  # whatever the process did before
    assert train(recogniser, tmp_path / "parts") is not None
    whole, parts = (load_weights(tmp_path / name / "model.safetensors", None) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [read_jsonl(tmp_path / name / "log.jsonl") for name in ("whole", "parts")]
    assert [line["dev"] for line in logs[0]] == [line["dev"] for line in logs[1]]
    assert [line["train"] for line in logs[0]] == [line["train"] for line in logs[1]]


def test_a_killed_training_goes_on_from_its_last_checkpoint(recogniser: Recogniser, tmp_path: Path) -> None:
    def killed() -> bool:
        raise KeyboardInterrupt

    train(recogniser, tmp_path / "whole")
    updates = len(plan_of(texts_for(recogniser).train, 40, 1, 1))
    count = iter(range(100))
    with pytest.raises(KeyboardInterrupt):
        train(recogniser, tmp_path / "parts", lambda: killed() if next(count) == updates + 2 else False)
    assert [p.name for p in (tmp_path / "parts" / "checkpoints").iterdir()] == ["epoch-0001"]
    train(recogniser, tmp_path / "parts")
    whole, parts = (load_weights(tmp_path / name / "model.safetensors", None) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_finished_training_is_not_repeated(recogniser: Recogniser, tmp_path: Path) -> None:
    first = train(recogniser, tmp_path / "lm")
    before = (tmp_path / "lm" / "model.safetensors").stat().st_mtime_ns
    again = train(recogniser, tmp_path / "lm")
    assert first is not None
    assert again is not None
    assert again.per_label == pytest.approx(first.per_label, rel=1e-5)
    assert (tmp_path / "lm" / "model.safetensors").stat().st_mtime_ns == before


def test_other_settings_are_refused_by_name(recogniser: Recogniser, tmp_path: Path) -> None:
    train(recogniser, tmp_path / "lm", after(1))
    with pytest.raises(UserError, match=r"other settings \(epochs: 3 there, 4 here\)"):
        train(recogniser, tmp_path / "lm", epochs=4)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds something else"):
        train(recogniser, tmp_path / "other")


def test_a_training_that_breaks_down_says_so(recogniser: Recogniser, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss is (nan|inf) .*lower --lr"):
        train(recogniser, tmp_path / "lm", learning_rate=1e30)


def test_every_epoch_holds_every_sentence_once_in_another_order(recogniser: Recogniser) -> None:
    sentences = texts_for(recogniser).train
    plans = [plan_of(sentences, 40, seed=1, epoch=epoch) for epoch in (1, 2)]
    for plan in plans:
        assert sorted(np.concatenate(plan).tolist()) == list(range(len(sentences)))
        assert all((sentences.lengths[batch].max() + 1) * len(batch) <= 40 for batch in plan)
    assert np.concatenate(plans[0]).tolist() != np.concatenate(plans[1]).tolist()
    assert [b.tolist() for b in plan_of(sentences, 40, 1, 1)] == [b.tolist() for b in plans[0]]


def test_the_feed_forward_network_grows_with_the_width() -> None:
    assert LmTrainConfig.of({}).model.feed_forward.dim == 704
    assert LmTrainConfig.of({"model.dim": 512}).model.feed_forward.dim == 1408
