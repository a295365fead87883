"""What the documentation shows must run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]


def test_one_utterance_runs_and_prints_a_shape_after_each_station(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "one_utterance.md").read_text(), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), "docs/one_utterance.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "log-mel", "augment", "front-end", "conformer", "ctc", "decoder", "losses",
    ]  # fmt: skip
    assert "(1, 148, 80)" in lines[0]


@pytest.mark.parametrize("page", ["README.md", "docs/from_returnn.md", "docs/chunks.md"])
def test_a_page_names_only_verbs_that_exist(page: str) -> None:
    from aedo.cli import VERBS

    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    named = set(re.findall(r"^aedo (\w+)", "\n".join(blocks), re.MULTILINE))
    assert named
    assert named <= set(VERBS)


def test_every_verb_explains_itself() -> None:
    from aedo.cli import VERBS, build

    for verb in VERBS:
        result = CliRunner().invoke(build(), [verb, "--help"])
        assert result.exit_code == 0, result.output
        assert "Usage" in result.output
