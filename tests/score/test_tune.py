"""Scores of lists against the models' own losses, and the weights chosen from them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from aedo.commands import tune as command
from aedo.model.labels import Labels
from aedo.score.lists import Lists
from aedo.score.tune import CTC_SCALES, LENGTH_REWARDS, LM_SCALES, Grid, broadest, grid_errors
from aedo.search.choose import search_of
from aedo.search.config import SearchConfig
from aedo.search.fusion import Fusion
from aedo.search.prior import log_prior
from aedo.search.rescore import Parts, Weights, rescored, score_parts, sequence_scores
from aedo.search.run_search import run_search
from tests.score.runs import small_experiment, write_data, write_run
from tests.search.test_fusion import Bigram


def test_parts_add_up_to_the_score_of_the_joint_search() -> None:
    torch.manual_seed(1)
    model = small_experiment().build_model(8).eval()
    fusion = Fusion(Bigram((2 * torch.randn(8, 8)).log_softmax(-1)), log_prior(torch.arange(1.0, 10.0)))
    weights = Weights(0.3, 0.2, 0.7, 0.4, 0.5)
    settings = {"kind": "joint", "lm": "toy", **weights._asdict()}
    config = SearchConfig(beam=4, whole_beam=True, considered=None, **settings)
    lengths = torch.tensor([16000, 9000])
    with torch.inference_mode():
        encoded = model.encode(model.features(torch.randn(2, 16000), lengths))
        found = run_search(model, encoded, config, "joint", fusion)
        lists = [[h.labels for h in found.hypotheses(row)] for row in range(2)]
        parts = score_parts(model, encoded, lists, fusion, internal_lm=True)
    scores = [h.score for row in range(2) for h in found.hypotheses(row)]
    assert parts.total(weights).tolist() == pytest.approx(scores, abs=1e-3)
    assert parts.labels.tolist() == [len(labels) for labels in itertools.chain(*lists)]


def test_lists_are_put_in_the_order_that_the_language_model_wants() -> None:
    torch.manual_seed(1)
    model = small_experiment().build_model(8).eval()
    fusion = Fusion(Bigram((4 * torch.randn(8, 8)).log_softmax(-1)))
    lengths = torch.tensor([16000, 9000])
    config = SearchConfig(kind="joint", beam=6, whole_beam=True)
    with torch.inference_mode():
        encoded = model.encode(model.features(torch.randn(2, 16000), lengths))
        before = run_search(model, encoded, config, "joint")
        asked = config.with_("lm", "toy").with_("lm_scale", 3.0).with_("lm_use", "lists").with_("whole_beam", False)
        after = run_search(model, encoded, asked, "joint", fusion)
    assert fusion.lm is not None
    for row in range(2):
        expected = {}
        for hypothesis in before.hypotheses(row):
            labels = Labels(torch.tensor([hypothesis.labels]), torch.tensor([len(hypothesis.labels)]))
            added = sequence_scores(fusion.lm.scorer(1, torch.device("cpu")), labels).item()
            expected[hypothesis.labels] = hypothesis.score + 3.0 * added
        wanted = sorted(expected.items(), key=lambda item: -item[1])
        assert [h.labels for h in after.hypotheses(row)] == [labels for labels, _ in wanted]
        assert [h.score for h in after.hypotheses(row)] == pytest.approx([score for _, score in wanted], abs=1e-3)
    assert rescored(before, fusion.lm, 0.0, torch.device("cpu")).labels.equal(before.labels)


def listed(decoder: list[float], ctc: list[float], labels: list[int], lm: list[float], owners: list[int]) -> Lists:
    zero = torch.zeros(len(owners), dtype=torch.float64)
    columns = [torch.tensor(x).double() for x in (decoder, ctc, labels, lm)]
    return Lists([{}] * 2, owners, [0, 4, 1], [Parts(*columns, zero, zero)])


def test_the_grid_counts_the_errors_of_the_best_hypotheses() -> None:
    # utterance 0: CTC is right about its first hypothesis, the decoder about nothing; utterance 1 has a single one
    lists = listed([-5.0, -1.0, -3.0], [-1.0, -5.0, -2.0], [2, 2, 3], [0.0, 0.0, 0.0], [0, 0, 1])
    errors = grid_errors(Grid.of(), lists, torch.tensor([0, 1]))
    assert errors.shape == (2, len(CTC_SCALES), len(LENGTH_REWARDS), 1, 1, 1)
    assert (errors[0, [scale < 0.5 for scale in CTC_SCALES]] == 4).all()
    assert (errors[0, [scale > 0.5 for scale in CTC_SCALES]] == 0).all()
    assert (errors[1] == 1).all()


def test_the_grid_reaches_from_the_decoder_alone_to_ctc_alone_and_weighs_the_language_model() -> None:
    assert {0.0, 1.0} <= set(CTC_SCALES)
    assert {0.0} <= set(LM_SCALES) & set(LENGTH_REWARDS)
    lists = listed([-1.0, -1.5, -3.0], [-1.0, -1.5, -2.0], [2, 2, 3], [-9.0, -8.0, 0.0], [1, 1, 0])
    errors = grid_errors(Grid.of(lm=True), lists, torch.tensor([0, 0]))
    at = LENGTH_REWARDS.index(0.0)
    assert errors[0, 0, at, :, 0, 0].tolist() == [1 if scale <= 0.5 else 5 for scale in LM_SCALES]


def test_of_equal_weights_those_inside_the_valley_are_taken() -> None:
    errors = torch.full((20, 21, 1), 9)
    errors[3, 3] = 1
    errors[9:16, 8:15] = 1
    assert broadest(errors) == (11, 10, 0)


def test_what_was_found_is_the_run_s_search_from_then_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", write_data(tmp_path / "data"), epochs=1)
    app = typer.Typer()
    command.register(app)
    result = CliRunner().invoke(app, [str(run.path), "--checkpoint", "last"])
    assert result.exit_code == 0, result.output
    if "nothing written" in result.output:
        assert not (run.path / "search.json").exists()
    else:
        search = search_of(run)
        assert f"kind {search.kind}" in result.output
        assert search.kind != "joint" or f"ctc_scale {search.ctc_scale}" in result.output
        other = "attention" if search.kind != "attention" else "joint"
        assert search_of(run, other) == run.experiment().search
