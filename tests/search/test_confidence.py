"""Confidence that means what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from aedo.errors import UserError
from aedo.search.confidence import Calibration, Evidence, cross_validated, raw_confidence, reliability


def drawn(words: int, bias: float, weights: tuple[float, float], seed: int) -> tuple[list[Evidence], list[bool]]:
    """Evidence, and rights and wrongs drawn from the very model that is fitted."""
    random = np.random.default_rng(seed)
    odds = random.normal(1.0, 2.0, (words, 2))
    p = 1 / (1 + np.exp(-(bias + odds @ np.array(weights))))
    evidence = [Evidence(*(-math.log1p(math.exp(-x)) for x in row)) for row in odds]
    return evidence, (random.random(words) < p).tolist()


def test_the_fit_finds_the_model_the_data_came_from() -> None:
    fitted = Calibration.fit(*drawn(20_000, -1.0, (0.5, 1.5), 1), {})
    assert fitted.bias == pytest.approx(-1.0, abs=0.12)
    assert fitted.weights == pytest.approx((0.5, 1.5), abs=0.12)


def test_calibrated_confidence_is_reliable_on_other_words() -> None:
    fitted = Calibration.fit(*drawn(3000, -2.0, (0.8, 0.1), 1), {})
    evidence, right = drawn(3000, -2.0, (0.8, 0.1), 2)
    before = reliability([raw_confidence(one) for one in evidence], right)
    after = reliability([fitted(one) for one in evidence], right)
    assert after["ece"] < 0.03 < before["ece"]
    assert after["brier"] < before["brier"]
    assert after["nce"] > 0.1


def test_more_evidence_never_makes_a_word_less_sure() -> None:
    fitted = Calibration.fit(*drawn(500, 0.0, (1.0, -0.7), 3), {})
    assert min(fitted.weights) >= 0.0
    assert fitted(Evidence(-0.01, -1.0)) >= fitted(Evidence(-2.0, -1.0)) >= fitted(Evidence(-2.0, -4.0))


def test_evidence_without_error_and_evidence_that_is_missing_keep_the_fit_finite() -> None:
    evidence = [Evidence(-1e-9, None)] * 20 + [Evidence(-50.0, None)] * 20
    fitted = Calibration.fit(evidence, [True] * 20 + [False] * 20, {})
    assert all(math.isfinite(value) for value in (fitted.bias, *fitted.weights))
    assert fitted(evidence[0]) > 0.9
    assert fitted(evidence[-1]) < 0.1
    assert raw_confidence(Evidence(None, None)) == 0.0


def test_cross_validation_never_judges_a_word_by_a_fit_that_saw_it() -> None:
    evidence, right = drawn(200, 0.0, (1.0, 1.0), 4)
    groups = [i // 4 for i in range(200)]
    found = cross_validated(evidence, right, groups, 5)
    kept = [i for i in range(200) if groups[i] % 5 != 2]
    fitted = Calibration.fit([evidence[i] for i in kept], [right[i] for i in kept], {})
    assert [found[i] for i in range(200) if groups[i] % 5 == 2] == [
        fitted(evidence[i]) for i in range(200) if groups[i] % 5 == 2
    ]


def test_reliability_of_known_numbers() -> None:
    found = reliability([0.95, 0.95, 0.15, 0.15], [True, False, False, False])
    assert found["curve"] == [
        {"confidence": pytest.approx(0.15), "right": 0.0, "words": 2},
        {"confidence": pytest.approx(0.95), "right": 0.5, "words": 2},
    ]
    assert found["ece"] == pytest.approx((0.15 + 0.45) / 2)
    assert reliability([0.25] * 4, [True, False, False, False])["nce"] == pytest.approx(0.0)


def test_a_calibration_is_kept_in_the_run_folder(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) is None
    fitted = Calibration(0.5, (1.0, 2.0), {"checkpoint": "best"})
    path = fitted.save(tmp_path, {"words": 3})
    assert Calibration.load(tmp_path) == fitted
    assert json.loads(path.read_text())["words"] == 3
    path.write_text("{}")
    with pytest.raises(UserError, match="run aedo calibrate again"):
        Calibration.load(tmp_path)
