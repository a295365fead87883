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
from aedo.score.tune import CTC_SCALES, LENGTH_REWARDS, broadest, grid_errors
from aedo.search.choose import search_of
from aedo.search.config import SearchConfig
from aedo.search.rescore import Parts, score_parts
from aedo.search.run_search import run_search
from tests.score.runs import small_experiment, write_data, write_run


def test_parts_add_up_to_the_score_of_the_joint_search() -> None:
    torch.manual_seed(1)
    model = small_experiment().build_model(8).eval()
    lengths = torch.tensor([16000, 9000])
    with torch.inference_mode():
        encoded = model.encode(model.features(torch.randn(2, 16000), lengths))
        config = SearchConfig(kind="joint", beam=4, ctc_scale=0.3, length_reward=0.2, whole_beam=True, considered=None)
        found = run_search(model, encoded, config, "joint")
        lists = [[h.labels for h in found.hypotheses(row)] for row in range(2)]
        parts = score_parts(model, encoded, lists)
    scores = [h.score for row in range(2) for h in found.hypotheses(row)]
    assert parts.total(0.3, 0.2).tolist() == pytest.approx(scores, abs=1e-3)
    assert parts.labels.tolist() == [len(labels) for labels in itertools.chain(*lists)]
    assert Labels(torch.zeros(1, 1, dtype=torch.int64), torch.tensor([0])).with_eos().lengths.tolist() == [1]


def test_the_grid_counts_the_errors_of_the_best_hypotheses() -> None:
    # utterance 0: CTC is right about its first hypothesis, the decoder about nothing; utterance 1 has a single one
    parts = Parts(torch.tensor([-5.0, -1.0, -3.0]), torch.tensor([-1.0, -5.0, -2.0]), torch.tensor([2, 2, 3]))
    errors = grid_errors(parts.__class__(*(x.double() for x in (parts.decoder, parts.ctc, parts.labels))),
                         torch.tensor([0, 0, 1]), torch.tensor([0, 4, 1]), 2)  # fmt: skip
    assert errors.shape == (len(CTC_SCALES), len(LENGTH_REWARDS))
    assert (errors[[scale < 0.5 for scale in CTC_SCALES]] == 5).all()
    assert (errors[[scale > 0.5 for scale in CTC_SCALES]] == 1).all()


def test_of_equal_weights_those_inside_the_valley_are_taken() -> None:
    errors = torch.full((20, 21), 9)
    errors[3, 3] = 1
    errors[9:16, 8:15] = 1
    assert broadest(errors) == (11, 10)


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
        assert search.kind == "joint"
        assert f"ctc_scale {search.ctc_scale}, length_reward {search.length_reward}" in result.output
