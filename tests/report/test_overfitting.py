import pytest

from aedo.report.gather import gather
from aedo.report.overfitting import final_ratio, ratio_over_time, ratio_term
from tests.report.runs import epoch, make_run, write_lines


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_the_ratio_is_dev_by_devtrain(run):
    found = gather(run)
    ratios = ratio_over_time(found, "ce")
    assert [x for x, _ in ratios] == list(range(1, 13))
    assert [y for _, y in ratios] == pytest.approx([(1.0 + 0.02 * n) / 0.8 for n in range(1, 13)])
    assert final_ratio(found, "ce") == pytest.approx(1.24 / 0.8)


def test_the_ratio_is_that_of_the_label_error_rate_where_all_have_one(run):
    assert ratio_term([gather(run)]) == "ler"
    found = gather(run)
    for line in found.epochs:
        for data in ("train", "dev", "devtrain"):
            line[data].pop("ler")
    assert ratio_term([gather(run), found]) == "ctc_2"


def test_no_error_at_all_on_devtrain_is_infinite(run):
    last = epoch(12)
    last["devtrain"]["ler"] = 0.0
    write_lines(run / "log.jsonl", [epoch(11), last])
    found = gather(run)
    assert final_ratio(found, "ler") == float("inf")
    assert [x for x, _ in ratio_over_time(found, "ler")] == [11]


def test_a_run_without_evaluation_has_no_ratio(run):
    write_lines(run / "log.jsonl", [{"epoch": 1}])
    assert final_ratio(gather(run), "ler") is None
    assert ratio_term([gather(run)]) is None
