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


def test_runs_follow_the_baseline_by_how_much_they_differ(compared):
    assert [row.run.name for row in compared.rows] == ["tiny", "tiny-ls02", "tiny-ls02-nospeedpert"]
    assert [row.number for row in compared.rows] == [1, 3, 2]
    assert [row.tags for row in compared.rows] == ["", "+ls02", "+ls02 +nospeedpert"]


def test_every_field_that_differs_is_listed_with_all_values(compared):
    fields = {field.path: field.values for field in compared.fields}
    assert fields["loss.label_smoothing"] == ["0.1", "0.2", "0.2"]
    assert fields["decoder"] == ["–", "–", "none"]
    assert fields["decoder.lstm_dim"] == ["16", "16", "–"]


def test_differences_in_error_rate_are_paired(compared):
    base, worse, same = (row.against["test"] for row in compared.rows)
    assert base.comparison is None
    assert worse.comparison.difference == pytest.approx(
        100 * 10 / 72
    )  # of 12 changed hypotheses, 2 turned a deletion into a substitution
    assert worse.comparison.significant
    assert same.comparison.difference == 0
    assert not same.comparison.significant


def test_other_utterances_are_not_compared(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    path = second / "recog" / "average-last10pct" / "test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    against = compare_runs([gather(first), gather(second)]).rows[1].against["test"]
    assert against.comparison is None
    assert "different references" in against.why


def test_differences_name_fields_of_either_side():
    assert differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"b": None, "c": 3}
