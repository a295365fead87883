"""The files a sweep leaves behind, from run folders written by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from aedo.experiment import Experiment
from aedo.sweep.compare import write_comparison
from aedo.sweep.jobs import Search, Work
from aedo.sweep.plan import Job
from aedo.sweep.runner import Task
from tests.report.runs import SMALL, make_run

LABEL = "average-last10pct"


def task(folder: Path, name: str, seed: int, *, smoothing: float, worse: int) -> Task:
    """A job whose run is done, decoded on the set `test`."""
    tree = {"loss": {"label_smoothing": smoothing}, "train": {"epochs": 12, "seed": seed}}
    run = make_run(folder / f"{name}-{seed}", name, tree, worse=worse)
    job = Job(name, seed, Experiment.model_validate(SMALL | tree), name)
    totals = json.loads((run / "recog" / LABEL / "test.json").read_text())
    return Task(job, folder / "log", "done", totals={("test", "beam"): {**totals, "folder": LABEL}}, run=run)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    tasks = [
        task(folder, "tiny", 1, smoothing=0.1, worse=0),
        task(folder, "tiny-ls02", 1, smoothing=0.2, worse=2),
        task(folder, "tiny", 2, smoothing=0.1, worse=0),
        task(folder, "tiny-ls02", 2, smoothing=0.2, worse=3),
    ]
    lost = Job("tiny-ls0", 1, Experiment.model_validate(SMALL), "tiny-ls0")
    tasks += [Task(lost, folder / "lost.log", "failed", errors=["ended with status 2", "error: <no> luck"])]
    tasks += [Task(lost, folder / "later.log")]
    work = Work(folder, folder, (), (Search(),))
    return write_comparison(tasks, work, folder / "sweep", ["aedo", "sweep", "tiny"]).parent


def test_the_numbers_are_those_of_the_hand(made: Path) -> None:
    """72 words; 24 errors, and 5 more for each step `worse`: six more words, one of them in place of a deletion."""
    baseline, other = json.loads((made / "comparison.json").read_text())["experiments"]
    assert baseline["results"]["test"]["wer_by_seed"] == pytest.approx([100 * 24 / 72] * 2)
    result = other["results"]["test"]
    assert result["wer_by_seed"] == pytest.approx([100 * 34 / 72, 100 * 39 / 72])
    assert result["difference"]["difference"] == pytest.approx(100 * 12.5 / 72)
    assert result["verdict"] == "worse"
    assert other["seeds"] == ["1", "2"]
    assert other["overfitting"] == pytest.approx(1.24 / 0.8)


def test_the_spread_over_seeds_is_that_of_the_hand(made: Path) -> None:
    """One experiment without any, one with 5 of 72 words between its seeds: 2 degrees of freedom together."""
    spread = json.loads((made / "comparison.json").read_text())["seed_spread"]["test"]
    assert spread == {"deviation": pytest.approx(((100 * 5 / 72) ** 2 / 2 / 2) ** 0.5), "freedom": 2}


def test_the_tables_have_a_line_for_each_training_and_sub_epoch(made: Path) -> None:
    with open(made / "runs.csv") as file:
        runs = list(csv.DictReader(file))
    assert [(line["name"], line["seed"], line["set"]) for line in runs] == [
        ("tiny", "1", "test"),
        ("tiny", "2", "test"),
        ("tiny-ls02", "1", "test"),
        ("tiny-ls02", "2", "test"),
    ]
    with open(made / "epochs.csv") as file:
        epochs = list(csv.DictReader(file))
    assert len(epochs) == 4 * 12
    assert float(epochs[0]["overfitting"]) == pytest.approx(1.02 / 0.8)


def test_the_page_shows_failures_and_what_is_still_to_come(made: Path) -> None:
    page = (made / "comparison.html").read_text()
    assert "1 job failed" in page
    assert "error: &lt;no&gt; luck" in page
    assert "1 of 6 jobs are still to come" in page
    assert "2 degrees of freedom" in page
    assert "aedo sweep tiny" in page


def test_the_table_can_be_put_into_notes(made: Path) -> None:
    lines = (made / "comparison.md").read_text().splitlines()
    assert lines[2].startswith("| tiny | 33.33 |")
    assert "| +17.36 |" in lines[3]
    assert "| worse |" in lines[3]


def test_a_sweep_in_which_all_failed_has_a_page_too(tmp_path: Path) -> None:
    job = Job("tiny", 1, Experiment.model_validate(SMALL), "tiny")
    failed = Task(job, tmp_path / "log", "failed", errors=["no luck"])
    page = write_comparison([failed], Work(tmp_path, tmp_path, (), ()), tmp_path / "sweep")
    assert "no luck" in page.read_text()
