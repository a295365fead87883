"""What docs/python.md shows runs as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.score.runs import write_data
from tests.search.speech import write_outspoken_run, write_talk

DOCS = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
    (run,) = set(re.findall(r'aedo\.load\("([^"]+)"', code))
    (tmp_path / run).parent.mkdir()
    write_outspoken_run(tmp_path / run, write_data(tmp_path / "data"))
    write_talk(tmp_path / "talk.flac")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("talk.mp3", "talk.flac"), {})
    assert len(capsys.readouterr().out.splitlines()) > 2
