"""Every part of the training step that remembers something goes on bit for bit where a training was killed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.train.test_kill import Server, results, server  # noqa: F401  (a fixture)

REMEMBERING: dict[str, Any] = {
    "ema": 0.9,
    "grad_scaler": "on",
    "gradients": {"noise": 0.01, "divide": True, "clip_norm": 1.0},
    "weight_noise": {"std": 0.02},
    "weight_dropout": {"rate": 0.1, "names": ["decoder.*"]},
    "accumulate": {"kind": "steps", "nodes": [4], "values": [1, 2]},
    "keep": {"last": 2, "best": 2},
    "average_last": 2,
    "average_best": 2,
}


def test_killed_with_noise_scaler_and_averages_it_ends_the_same(server: Server, tmp_path: Path) -> None:  # noqa: F811
    assert server.train(tmp_path / "whole", train=REMEMBERING) == 0
    expected = results(tmp_path / "whole")
    averages = {"average-last50pct", "average-last2", "average-best2", "ema"}
    assert averages <= set(expected["weights"])
    for number in (35, 60):
        out = tmp_path / str(number)
        assert server.train(out, at=number, save_minutes=1e-9, train=REMEMBERING) == -signal.SIGKILL
        assert server.train(out, save_minutes=1e-9, train=REMEMBERING) == 0
        assert results(out) == expected, f"killed at moment {number}"
