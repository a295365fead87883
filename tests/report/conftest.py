from pathlib import Path

import pytest

from tests.report.runs import make_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run; tests must not change it."""
    return make_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run(tmp_path) -> Path:
    """A finished run of the test's own."""
    return make_run(tmp_path / "run")
