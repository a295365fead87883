"""What is left to do, judged by run folders written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aedo.data.manifest import Manifest
from aedo.errors import UserError
from aedo.run import Checkpoint, RunFolder
from aedo.score.decode import SetOfCuts
from aedo.search.config import NAMES
from aedo.sweep.jobs import Search, Work, averages, check, find_run, is_trained, next_command, results
from aedo.sweep.plan import Job
from aedo.train.config import TrainConfig
from tests.score.runs import small_experiment, write_data, write_run


@pytest.fixture
def work(tmp_path: Path) -> Work:
    data = write_data(tmp_path / "data")
    return Work(data, tmp_path, (SetOfCuts.read(Manifest.open(data, "dev"), "dev", data),), (Search(),))


@pytest.fixture
def job() -> Job:
    return Job("small", None, small_experiment(), "small")


def finish(job: Job, work: Work) -> RunFolder:
    return write_run(job.path(work.out), work.data)


def decode(run: RunFolder, work: Work) -> None:
    """What `aedo recog` leaves for the first search."""
    decoding = work.decoding(run, work.searches[0])
    decoding.folder.mkdir(parents=True)
    from aedo.score.decode import _made_from

    for cuts in work.sets:
        (decoding.folder / f"{cuts.name}.jsonl").write_text("")
        (decoding.folder / f"{cuts.name}.json").write_text(json.dumps({"wer": 5.0, **_made_from(decoding, cuts)}))


def test_a_job_is_trained_then_recognised_then_done(job: Job, work: Work) -> None:
    step, words = next_command(job, work) or ("", [])
    assert step == "training"
    assert words[2:5] == ["aedo", "train", "small"]
    run = finish(job, work)
    step, words = next_command(job, work) or ("", [])
    assert step == "recognising"
    assert words[2:5] == ["aedo", "recog", str(run.path)]
    assert words[words.index("--checkpoint") + 1] == "average-last10pct"
    decode(run, work)
    assert next_command(job, work) is None
    assert results(run, work)["dev", "beam"]["wer"] == 5.0  # type: ignore[index]


def test_a_training_without_its_last_epoch_or_its_average_goes_on(job: Job, work: Work) -> None:
    run = finish(job, work)
    assert is_trained(run)
    average, last = run.checkpoint("average-last10pct"), run.checkpoint("last")
    average.folder.rename(work.out / "away")
    assert not is_trained(run)
    (work.out / "away").rename(average.folder)
    last.folder.rename(work.out / "away")
    assert not is_trained(run)


def test_results_of_another_checkpoint_are_decoded_anew(job: Job, work: Work) -> None:
    run = finish(job, work)
    decode(run, work)
    average = run.checkpoint("average-last10pct")
    changed = Checkpoint(average.folder, average.label, 8, 80, 80, averaged=["epoch-0007", "epoch-0008"])
    (average.folder / "checkpoint.json").write_text(changed.describe())
    assert (next_command(job, work) or [""])[0] == "recognising"


def test_the_same_experiment_under_an_older_hash_counts_when_it_is_finished(job: Job, work: Work) -> None:
    run = write_run(work.out / "small-01234567", work.data)
    assert find_run(job, work.out) == run
    other = Job("small", 7, job.experiment.with_("train.seed", 7), "small")
    assert find_run(other, work.out) is None


def test_seed_origin_and_options_reach_the_training(job: Job, work: Work) -> None:
    seeded = Job("small", 5, job.experiment.with_("train.seed", 5), "small")
    more = Work(work.data, work.out, work.sets, work.searches, options=("--threads", "1"), device="cpu")
    _, words = next_command(seeded, more) or ("", [])
    assert words[-4:] == ["--seed", "5", "--threads", "1"]
    assert words[words.index("--device") + 1] == "cpu"


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("beam", "beam", []),
        ("beam4", "beam4", ["--beam", "4"]),
        (" ctc", "ctc", ["--search", "ctc"]),
        ("joint+beam4", "joint+beam4", ["--search", "joint", "--beam", "4"]),
        *((name, name, ["--search", name]) for name in NAMES),
    ],
)
def test_searches_are_spelled_in_words(text: str, name: str, options: list[str]) -> None:
    search = Search.parse(text)
    assert (search.name, search.options) == (name, options)


@pytest.mark.parametrize(
    "text", ["greedy", "beam0", "", "beam-4", "joint4", "joint+beam", "ctc+beam4", "+beam4", "beam+beam4"]
)
def test_other_searches_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--search"):
        Search.parse(text)


def test_ctc_search_without_ctc_head_is_refused_before_anything_starts(job: Job, work: Work) -> None:
    headless = Job("small", None, job.experiment.with_("ctc.layers", ()), "small")
    with pytest.raises(UserError, match="small: --search ctc: this model has no CTC head"):
        check([job, headless], Work(work.data, work.out, work.sets, (Search("ctc_greedy"),)))
    check([job, headless], Work(work.data, work.out, work.sets, (Search(), Search("attention"))))
    for kind in ("joint", "joint_time", "ctc_prefix"):
        with pytest.raises(UserError, match="this model has no CTC head"):
            check([headless], Work(work.data, work.out, work.sets, (Search(kind),)))


def test_every_search_is_kept_apart_and_looked_for_where_recog_writes_it(job: Job, work: Work) -> None:
    searches = tuple(Search.parse(name) for name in ("beam", "attention", "joint-time+beam3"))
    several = Work(work.data, work.out, work.sets, searches)
    run = finish(job, several)
    decode(run, several)
    _, words = next_command(job, several) or ("", [])
    assert words[-2:] == ["--search", "attention"]
    folders = {several.decoding(run, search).folder.name for search in searches}
    assert len(folders) == 3


def test_a_run_that_began_elsewhere_is_refused(job: Job, work: Work) -> None:
    run = finish(job, work)
    run.write_info({**run.info, "from": {"run": "/other", "checkpoint": "epoch-0008", "sha256": "00"}})
    with pytest.raises(UserError, match="began from something else"):
        check([job], work)


def test_the_average_that_a_tag_asks_for_is_judged() -> None:
    assert averages(TrainConfig()) == ["average-last10pct"]
    assert averages(TrainConfig(average_best=4))[0] == "average-best4"
    assert averages(TrainConfig(ema=0.999, average_fraction=0))[0] == "ema"
    assert averages(TrainConfig(average_fraction=0)) == []
