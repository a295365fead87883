from __future__ import annotations

from pathlib import Path

import pytest

from aedo.commands import demo


@pytest.mark.parametrize(("name", "tuned"), [("tiny", True), ("tiny-ctconly", False)])
def test_it_is_the_commands_one_would_type_and_goes_on_with_data_that_is_there(
    name: str, tuned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(demo, "_do", lambda *words: done.append(str(words[0])))
    monkeypatch.setattr(demo, "_some_audio", lambda data: "x.wav")
    rest = ["train", *(["tune"] if tuned else []), "recog", "report"]
    demo.demo(tmp_path, name, "1h", 1)
    assert done == ["prepare", *rest]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "card.json").touch()
    done.clear()
    demo.demo(tmp_path, name, "1h", 1)
    assert done == rest
