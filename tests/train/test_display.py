"""What the user sees."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from aedo.train.display import Display, Status, duration

STATUS = Status(
    epoch=3,
    epochs=100,
    batch=20,
    batches=144,
    losses={"ce": 1.23456, "ler": 0.4321},
    learning_rate=1e-3,
    grad_norm=2.5,
    frames_per_second=12345.6,
    seconds_left=3700,
    padding=0.123,
    wait=0.04,
)
LINE = (
    "epoch 3/100 20/144 | ce 1.235 ler 43.2% | lr 1.00e-03 | grad 2.50 | 12,346 frames/s | padding 12% | waiting 4%"
    " | 1 h 01 min left"
)


def test_the_line_tells_all_that_matters() -> None:
    assert STATUS.line() == LINE


def test_elsewhere_than_on_a_terminal_plain_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=40))
    display.status(STATUS)
    display.activity("evaluating")
    assert output.getvalue() == "", "too soon"
    monkeypatch.setattr("aedo.train.display.PLAIN_SECONDS", 0.0)
    display.status(STATUS)
    display.close()
    assert output.getvalue() == LINE + "\n", "one whole line, however narrow the console"


def test_on_a_terminal_the_line_is_live_and_messages_stay() -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=200, force_terminal=True))
    display.status(STATUS)
    display.say("left out: [utterance]: silent")
    display.close()
    assert "12,346 frames/s" in output.getvalue()
    assert "left out: [utterance]: silent" in output.getvalue()


def test_durations_name_the_units_that_matter() -> None:
    assert [duration(s) for s in (5, 65, 3700, 90000)] == ["5 s", "1 min 05 s", "1 h 01 min", "1 d 1 h"]


@pytest.mark.parametrize(("wait", "said"), [(2.0, False), (30.0, True)])
def test_a_training_that_waits_for_its_data_says_so(wait: float, said: bool) -> None:
    output, term = io.StringIO(), {"ce": 1.0}
    record = {"epoch": 2, "train": term, "dev": term, "devtrain": term, "lr": 1e-3, "audio_seconds": 500.0}
    Display(Console(file=output)).epoch({**record, "seconds": 100.0, "padding": 0.07, "wait": wait})
    lines = output.getvalue().splitlines()
    assert lines[0].endswith(f"| 5.0x real time | padding 7% | waiting {wait:.0f}%")
    assert (len(lines) > 1 and "aedo bench --data" in lines[1]) == said
