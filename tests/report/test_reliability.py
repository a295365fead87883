"""What aedo calibrate found is on the page."""

import json

import pytest

from aedo.report.page import Options, write_report
from aedo.search.confidence import Calibration, reliability
from tests.report.runs import make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def page(run, tmp_path):
    notices = write_report([run], tmp_path / "report.html", Options(pictures=0, worst=0))
    return (tmp_path / "report.html").read_text(), notices


def calibrated(run):
    right = [True] * 30 + [False] * 10
    before, after = reliability([0.05] * 40, right), reliability([0.9] * 30 + [0.1] * 10, right)
    origin = {"set": "dev-clean", "checkpoint": "epoch-0012"}
    Calibration(0.0, (1.0, 1.0), origin).save(
        run, {"words": 40, "wrong": 10, "left_out": "speakers", "before": before, "after": after}
    )


def test_curve_and_numbers_are_shown(run, tmp_path):
    calibrated(run)
    text, _ = page(run, tmp_path)
    assert "Confidence of words" in text
    assert "40 words of dev-clean, epoch-0012, 10 of them wrong" in text
    assert "<td>0.7000</td><td>0.1000</td>" in text, "calibration error before and after"
    assert "without its own\n      speaker" in text


def test_without_calibration_nothing_is_said(run, tmp_path):
    assert "Confidence of words" not in page(run, tmp_path)[0]


@pytest.mark.parametrize("content", ["no json", "[]", json.dumps({"before": {}, "after": {}, "made_from": {}})])
def test_a_damaged_calibration_is_a_notice(run, tmp_path, content):
    (run / "calibration.json").write_text(content)
    text, notices = page(run, tmp_path)
    assert "Confidence of words" not in text
    assert any("not a calibration" in notice for notice in notices)
