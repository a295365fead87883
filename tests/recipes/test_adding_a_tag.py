"""One function and one line of a test make a tag: the example of docs/adding_a_tag.md, done to a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources and the tests of the recipes, with what the page says added to the files that it names."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "tests" / "recipes", root / "tests" / "recipes", ignore=shutil.ignore_patterns("__pycache__")
    )
    (root / "tests" / "__init__.py").touch()
    (root / "docs").mkdir()
    page = (ROOT / "docs" / "adding_a_tag.md").read_text(encoding="utf-8")
    blocks = re.findall(r"`((?:src|tests)/[\w/]+\.py)`[^`]*(?:`[^`]+`[^`]*)*?```python\n(.*?)```", page, re.DOTALL)
    assert [path for path, _ in blocks] == ["src/aedo/recipes/tags/update.py", "tests/recipes/tags/update.py"]
    for path, code in blocks:
        with (root / path).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{code}")
    return root


PROGRAM = """
import pathlib, sys
import aedo, pytest
from aedo.recipes.catalogue import explain, listing
from aedo.recipes.names import resolve
from tests.recipes.table import text

assert pathlib.Path(aedo.__file__).is_relative_to(pathlib.Path.cwd())
assert resolve("24gb_v6_keepbest8_f32").train.keep.best == 8
assert "train.keep.best = 8" in explain("keepbest8")
assert "keepbestCOUNT" in listing()
assert "`train.keep.best`: 4 → 8" in text()
chosen = "keepbest or in_a_table or explained or behind_those"
sys.exit(pytest.main(["-p", "no:cacheprovider", "-q", "tests/recipes/test_tags.py", "-k", chosen]))
"""


def test_a_new_tag_resolves_is_explained_and_passes_the_tests_of_every_tag(copied: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{copied / 'src'}{os.pathsep}{copied}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=copied, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b([5-9]|\d{2,}) passed", done.stdout), done.stdout
