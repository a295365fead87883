"""What has a say beside the model: in every search, counted right, the same in any batch, and nothing when off."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

import aedo
from aedo.commands import recog as command
from aedo.conventions import EOS
from aedo.data.text import CharTokenizer
from aedo.errors import UserError
from aedo.search.beam import beam_search
from aedo.search.choose import recognizer_of
from aedo.search.config import FIELDS, Kind, SearchConfig
from aedo.search.fused import refuse_in_chunks
from aedo.search.fusion import Fusion
from aedo.search.hotwords import phrase_automaton
from aedo.search.prior import log_prior, mean_posterior, prior_path
from aedo.search.recognize import Recognizer
from aedo.search.scorer import LabelScorer, OfDecoder, PerLabel, Weighted
from tests.score.runs import small_experiment, write_data, write_run
from tests.search.toy import At, automaton, log_prob

TOKENIZER = CharTokenizer("abc ")
NOISE = [np.random.default_rng(i).normal(size=16000 * n // 4).astype(np.float32) for i, n in enumerate((4, 2, 3))]
SHORT = [samples[:5000] for samples in NOISE]
KINDS: tuple[Kind, ...] = ("attention", "joint", "joint_time", "ctc_prefix")


@dataclass(frozen=True)
class Bigram:
    """A language model as small as can be."""

    table: Tensor
    """[V, V]."""
    batch: int = 0

    def scorer(self, batch: int, device: torch.device) -> LabelScorer:
        return replace(self, batch=batch)

    def start(self) -> At:
        return At(torch.zeros(self.batch, 1, dtype=torch.int64))

    def step(self, labels: Tensor | None, state: At) -> tuple[Tensor, At]:
        after = state if labels is None else At(labels)
        return self.table[after.states], after

    def select(self, rows: Tensor) -> LabelScorer:
        return replace(self, batch=len(rows))


def bigram() -> Bigram:
    generator = torch.Generator().manual_seed(5)
    return Bigram((2 * torch.randn(TOKENIZER.size, TOKENIZER.size, generator=generator)).log_softmax(-1))


def recognizer(kind: Kind, *, beam: int = 4, **settings: Any) -> Recognizer:
    torch.manual_seed(1)
    model = small_experiment().build_model(TOKENIZER.size)
    prior = log_prior(torch.arange(1.0, TOKENIZER.size + 2))
    found = Fusion(bigram(), prior, phrase_automaton(["ab", "ca b"], TOKENIZER))
    return Recognizer(model, TOKENIZER, SearchConfig(kind=kind, beam=beam, **settings), fusion=found)


def everything(kind: Kind) -> dict[str, Any]:
    wanted = {"lm": "toy", "lm_scale": 0.8, "prior_scale": 0.4, "length_reward": 0.3, "hotwords": ("ab", "ca b")}
    return {name: value for name, value in wanted.items() if name in FIELDS[kind]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", ["search", "lists"])
def test_a_batch_gives_what_each_utterance_gives(kind: Kind, use: str) -> None:
    one = recognizer(kind, **everything(kind), lm_use=use)
    for audio, together in zip(NOISE, one.recognize(NOISE), strict=True):
        (alone,) = one.recognize([audio])
        assert alone.labels == together.labels
        assert alone.score == pytest.approx(together.score, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_scales_of_zero_change_no_bit(kind: Kind) -> None:
    settings: dict[str, Any] = {**everything(kind), "lm_scale": 0.0, "length_reward": 0.0, "hotword_bias": 0.0}
    settings |= {"prior_scale": 0.0} if "prior_scale" in settings else {}
    plain, silent = recognizer(kind), recognizer(kind, **settings)
    assert [r.hypotheses for r in plain.recognize(NOISE)] == [r.hypotheses for r in silent.recognize(NOISE)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["lm", "prior_scale", "length_reward", "hotwords", "internal_lm_scale"])
def test_each_changes_the_scores_of_the_searches_that_look_at_it(kind: Kind, name: str) -> None:
    setting = {"internal_lm_scale": 0.5, **everything("joint")}[name]
    if name not in FIELDS[kind]:
        return
    plain, fused = recognizer(kind), recognizer(kind, **{name: setting, "hotword_bias": 30.0})
    assert [r.score for r in plain.recognize(NOISE)] != [r.score for r in fused.recognize(NOISE)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_phrase_with_a_large_bias_is_heard(kind: Kind) -> None:
    plain = recognizer(kind).recognize(NOISE[:1])[0]
    biased = recognizer(kind, hotwords=("ab", "ca b"), hotword_bias=30.0).recognize(NOISE[:1])[0]
    assert "ab" not in plain.text.split()
    assert "ab" in biased.text.split() or "ca b" in biased.text


def test_the_search_by_attention_adds_up_what_is_added() -> None:
    decoder, table = automaton(3, batch=2, vocabulary=4)
    other, others = automaton(4, batch=2, vocabulary=4)
    added = Weighted([(0.6, OfDecoder(other, others)), (0.4, PerLabel.length(4, torch.device("cpu")))])
    limits = [4, 3]
    found = beam_search(decoder, table, torch.tensor(limits), beam=2000, length_normalization=1.0, added=added)
    for utterance, limit in enumerate(limits):
        expected = []
        for count in range(limit + 1):
            for labels in itertools.product(range(1, 4), repeat=count):
                chosen = (*labels, EOS) if count < limit else labels  # the limit cuts the last label off
                score = log_prob(decoder, table, utterance, chosen) + 0.4 * len(labels)
                score += 0.6 * log_prob(other, others, utterance, chosen)
                expected.append(score / max(len(chosen) - 1, 1))
        scores = [h.score for h in found.hypotheses(utterance)]
        assert scores == pytest.approx(sorted(expected, reverse=True)[: len(scores)], abs=1e-5)
        assert len(scores) == len(expected)


def test_joint_search_by_ctc_alone_is_ctc_prefix_search() -> None:
    for settings in ({}, {"lm": "toy", "length_reward": 0.2}):
        wide: dict[str, Any] = {"considered": None, "beam": 400, **settings}  # noise has no few best hypotheses
        joint = recognizer("joint", ctc_scale=1.0, **wide).recognize(SHORT)
        prefix = recognizer("ctc_prefix", **wide).recognize(SHORT)
        assert [r.labels for r in joint] == [r.labels for r in prefix]
        assert [r.score for r in joint] == pytest.approx([r.score for r in prefix], abs=1e-3)


def test_a_prior_leaves_blank_and_eos_out() -> None:
    found = log_prior(torch.tensor([0.2, 0.1, 0.3, 0.4]))
    assert found.exp().tolist() == pytest.approx([1.0, 0.25, 0.75])


def test_the_prior_is_the_mean_over_all_frames_and_stays_with_the_weights(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", write_data(tmp_path / "data"), epochs=1)
    checkpoint = run.checkpoint("epoch-0001")
    first = recognizer_of(run, checkpoint, kind="joint", settings={"prior_scale": 0.2})
    path = prior_path(run, checkpoint)
    assert torch.equal(load_file(path)["log_prior"], first.fusion.log_prior)  # type: ignore[arg-type]
    from aedo.data.manifest import Manifest

    manifest = Manifest.open(Path(run.info["data"]), "train")
    whole, count = mean_posterior(first, run, manifest, 1000)
    assert count == len(manifest)
    assert whole.sum().item() == pytest.approx(1.0)
    assert torch.allclose(log_prior(whole), first.fusion.log_prior)  # type: ignore[arg-type]
    written = path.stat().st_mtime_ns
    recognizer_of(run, checkpoint, kind="joint", settings={"prior_scale": 0.2})
    assert path.stat().st_mtime_ns == written
    run.write_info({**run.info, "data": str(tmp_path / "away")})
    recognizer_of(run, checkpoint, kind="joint", settings={"prior_scale": 0.2})
    with pytest.raises(UserError, match="no prior of these weights there, nor the training data"):
        recognizer_of(run, run.checkpoint("average-last10pct"), kind="joint", settings={"prior_scale": 0.2})


def test_a_setting_that_the_search_does_not_look_at_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", write_data(tmp_path / "data"), epochs=1)
    last = run.checkpoint("last")
    for kind, name in (("ctc_greedy", "lm"), ("attention", "prior_scale"), ("ctc_prefix", "ctc_scale")):
        with pytest.raises(UserError, match=f"{name}: the search .* does not look at it"):
            recognizer_of(run, last, kind=kind, settings={name: 1})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="lm_scala: no setting of a search"):
        recognizer_of(run, last, settings={"lm_scala": 1})
    with pytest.raises(UserError, match=r"search\.beam: "):
        recognizer_of(run, last, settings={"beam": 0})


def test_a_streaming_decoder_refuses_what_its_search_has_no_place_for() -> None:
    for name, settings in (
        ("lm", {"lm": "toy"}),
        ("hotwords", {"hotwords": ("ab",)}),
        ("prior_scale", {"prior_scale": 1}),
    ):
        with pytest.raises(
            UserError, match=f"{name}: a streaming model's decoder is searched chunk by chunk without it"
        ):
            refuse_in_chunks(SearchConfig.model_validate(settings), "joint")
    refuse_in_chunks(SearchConfig(lm="toy", lm_use="lists"), "joint")
    refuse_in_chunks(SearchConfig(lm="toy", lm_scale=0.0), "joint")


def test_results_with_phrases_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", write_data(tmp_path / "data"), epochs=1)
    app = typer.Typer()
    command.register(app)
    ask = [str(run.path), "--sets", "dev", "--checkpoint", "last"]
    for more in ([], ["--hotwords", "one; two", "--hotword-bias", "4"], ["--setting", "ctc_scale=0.9"]):
        result = CliRunner().invoke(app, [*ask, *more])
        assert result.exit_code == 0, result.output
    folders = sorted(path.name for path in run.recog_folder.iterdir())
    assert folders[0] == "epoch-0001"
    assert folders[1] == "epoch-0001+ctc-scale0.9"
    assert folders[2].startswith("epoch-0001+hotword-bias4+hotwords-")
    plain, biased = (
        json.loads((run.recog_folder / name / "dev.json").read_text()) for name in (folders[0], folders[2])
    )
    assert biased["search"]["hotwords"] == ["one", "two"]
    assert not {"hotwords", "lm", "lm_scale", "hotword_bias"} & set(plain["search"])
    transcriber = aedo.load(run.path, checkpoint="last", hotwords=["one"], hotword_bias=60.0)
    heard = transcriber.recognizer.recognize(NOISE[:1])[0]
    assert "one" in heard.text.split()
