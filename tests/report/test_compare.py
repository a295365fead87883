import pytest

from aedo.report.compare import compare_runs, differences
from aedo.report.gather import gather
from tests.report.runs import make_run


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    paths = [
        make_run(root / "base", "tiny"),
        make_run(root / "many", "tiny-ls02-nospeedpert", {"loss": {"label_smoothing": 0.2}, "decoder": None}),
        make_run(root / "few", "tiny-ls02", {"loss": {"label_smoothing": 0.2}}, worse=2),
    ]
    return compare_runs([gather(path) for path in paths])


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """Two seeds of the baseline and of another experiment; every training has one more error in some utterances."""
    root = tmp_path_factory.mktemp("seeded")
    paths = [
        make_run(root / f"{name}{seed}", name, {**tree, "train": {"epochs": 12, "seed": seed}}, worse=worse + seed)
        for seed in (1, 2)
        for name, tree, worse in (("tiny", {}, 0), ("tiny-ls02", {"loss": {"label_smoothing": 0.2}}, 1))
    ]
    return compare_runs([gather(path, steps=False, labels=["average-last10pct"]) for path in paths])


def test_experiments_follow_the_baseline_by_how_much_they_differ(compared):
    assert [row.name for row in compared.rows] == ["tiny", "tiny-ls02", "tiny-ls02-nospeedpert"]
    assert [row.numbers for row in compared.rows] == [[1], [3], [2]]
    assert [row.tags for row in compared.rows] == ["", "+ls02", "+ls02 +nospeedpert"]


def test_every_field_that_differs_is_listed_with_both_values(compared):
    changes = {change.path: (change.before, change.after) for change in compared.rows[2].changes}
    assert changes == {"loss.label_smoothing": ("0.1", "0.2"), "decoder": ("a part of its own", "none")}


def test_differences_in_error_rate_are_paired(compared):
    base, worse, same = (row.outcomes["test"] for row in compared.rows)
    assert base.comparison is None
    assert base.verdict == ""
    assert worse.comparison.difference == pytest.approx(
        100 * 10 / 72
    )  # of 12 changed hypotheses, 2 turned a deletion into a substitution
    assert worse.verdict == "worse"
    assert same.comparison.difference == 0
    assert same.verdict == "no difference shown"


def test_p_values_are_corrected_for_their_number(compared):
    worse, same = (row.outcomes["test"] for row in compared.rows[1:])
    assert worse.corrected == pytest.approx(2 * worse.comparison.p_value)
    assert same.corrected == same.comparison.p_value == 1.0


def test_other_utterances_are_not_compared(tmp_path):
    tree = {"loss": {"label_smoothing": 0.2}}
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", "tiny-ls02", tree)
    path = second / "recog" / "average-last10pct" / "test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    outcome = compare_runs([gather(first), gather(second)]).rows[1].outcomes["test"]
    assert outcome.comparison is None
    assert outcome.verdict == "not comparable"
    assert "different references" in outcome.why


def test_trainings_with_other_seeds_share_a_row(seeded):
    assert [(row.name, row.seeds, row.numbers) for row in seeded.rows] == [
        ("tiny", ["1", "2"], [1, 3]),
        ("tiny-ls02", ["1", "2"], [2, 4]),
    ]
    assert [change.path for change in seeded.rows[1].changes] == ["loss.label_smoothing"]
    base, other = (row.outcomes["test"] for row in seeded.rows)
    assert base.mean == pytest.approx(sum(base.rates) / 2)
    assert other.comparison.difference == pytest.approx(other.mean - base.mean)


def test_the_spread_over_seeds_is_pooled(seeded):
    rates = [row.outcomes["test"].rates for row in seeded.rows]
    pooled = (
        sum((first - second) ** 2 / 2 for first, second in rates) / 2
    )  # a variance each, one degree of freedom each
    assert seeded.spreads["test"].deviation == pytest.approx(pooled**0.5)
    assert seeded.spreads["test"].freedom == 2


def test_a_missing_seed_on_a_set_is_left_out_of_the_mean(tmp_path):
    first = make_run(tmp_path / "a", tree={"train": {"seed": 1, "epochs": 12}})
    second = make_run(tmp_path / "b", tree={"train": {"seed": 2, "epochs": 12}}, worse=1)
    for path in (second / "recog").glob("*/test.json*"):
        path.unlink()
    row = compare_runs([gather(first), gather(second)]).rows[0]
    assert len(row.outcomes["test"].rates) == 1
    assert len(row.outcomes["dev-clean"].rates) == 2


def test_an_unfinished_training_is_said_to_be_unfinished(tmp_path):
    run = make_run(tmp_path / "a", tree={"train": {"epochs": 20}})
    assert compare_runs([gather(run)]).rows[0].unfinished == ["seed 1: 12 of 20 sub-epochs"]


def test_the_end_of_the_training_is_compared(seeded):
    row = seeded.rows[0]
    last = row.runs[0].epochs[-1]
    assert row.overfitting == pytest.approx(last["dev"]["ler"] / last["devtrain"]["ler"])
    assert row.finals["ce"] == pytest.approx(last["dev"]["ce"])
    assert row.seconds == 12 * 60.0


def test_differences_name_fields_of_either_side():
    found = [(c.path, c.before, c.after) for c in differences({"a": 1, "b": 2, "d": [1, 2.5]}, {"a": 1, "c": 3.0})]
    assert found == [("b", "2", "–"), ("c", "–", "3"), ("d", "1, 2.5", "–")]


def test_of_a_part_that_is_new_only_its_presence_is_told():
    found = differences({"decoder": None}, {"decoder.kind": "lstm", "decoder.dim": 8})
    assert [(c.path, c.before, c.after) for c in found] == [("decoder", "none", "a part of its own")]
