"""Reading is measured on the data that are there, packed or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aedo.bench.reading import WORKERS, reading
from aedo.cli import build
from aedo.data.pack import pack
from tests.train.micro import write_data


def test_folders_are_measured_side_by_side_with_every_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aedo.bench.reading.WORKERS", (0,))
    data = write_data(tmp_path / "data")
    pack(data, tmp_path / "packed")
    found = reading([data, tmp_path / "packed"], batches=2, rounds=2, batch_seconds=2.0)
    assert [(each.audio, each.workers, len(each.rates)) for each in found.all] == [("flac", 0, 2), ("shar", 0, 2)]
    assert all(each.rate > 0 for each in found.all)
    assert "hours per s" in found.as_text()


@pytest.mark.slow
def test_the_command_measures_workers_too(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    options = ["bench", "--data", str(data), "--batch-seconds", "2", "--steps", "2", "--json"]
    result = CliRunner().invoke(build(), options)
    assert result.exit_code == 0, result.output
    assert [each["workers"] for each in json.loads(result.stdout)] == list(WORKERS)
