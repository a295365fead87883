import io
import json

import pytest

from aedo.stream.session import StreamResult, StreamWord
from aedo.stream.show import Terminal, printer_of


def result(final: str = "", partial: str = "", *, ended: bool = False) -> StreamResult:
    words = tuple(StreamWord(word, 0.1, 0.25) for word in final.split())
    return StreamResult(words, partial, 1.23456, ended)


RESULTS = [result("", "he"), result("hello", "wor"), result("world", ended=True), result("", "x"), result(ended=True)]


def shown(kind: str, *, partial: bool) -> list[str]:
    out = io.StringIO()
    show = printer_of(kind, out, partial=partial)
    for one in RESULTS:
        show(one)
    return out.getvalue().splitlines()


def test_partial_lines_of_text_are_marked():
    assert shown("txt", partial=True) == ["... he", "hello", "... wor", "world", "... x"]
    assert shown("txt", partial=False) == ["hello", "world"]


def test_json_has_a_line_a_result():
    lines = [json.loads(line) for line in shown("json", partial=True)]
    assert len(lines) == len(RESULTS)
    assert lines[1] == {
        "seconds": 1.235,
        "final": [{"word": "hello", "start": 0.1, "end": 0.25}],
        "partial": "wor",
        "ended": False,
    }
    assert [json.loads(line)["ended"] for line in shown("json", partial=False)] == [False, True, True]


class Screen:
    """What a terminal of some columns shows, by the few sequences in use."""

    def __init__(self, columns: int) -> None:
        self.columns, self.lines, self.column = columns, [""], 0

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        pass

    def write(self, text: str) -> None:
        while text:
            if text[0] == "\n":
                self.lines.append("")
                self.column, text = 0, text[1:]
            elif text.startswith("\x1b["):
                end = next(i for i, c in enumerate(text) if c.isalpha())
                count, act, text = text[2:end], text[end], text[end + 1 :]
                if act == "D":
                    self.column -= int(count)
                if act == "K":
                    self.lines[-1] = self.lines[-1][: self.column]
            else:
                self.lines[-1] = self.lines[-1][: self.column] + text[0] + self.lines[-1][self.column + 1 :]
                self.column, text = self.column + 1, text[1:]
                assert self.column <= self.columns, "a line has wrapped by itself"


@pytest.mark.parametrize("columns", [12, 30, 80])
def test_a_terminal_overwrites_partial_words_and_wraps_final_ones(columns):
    screen = Screen(columns)
    terminal = Terminal(screen, partial=True, columns=columns)
    words = [f"word{number}" for number in range(12)]
    for word in words:
        terminal.show(result("", f"{word} and something that is quite wrong"))
        terminal.show(result(word))
    terminal.show(result("last", ended=True))
    terminal.show(result("next"))
    assert " ".join(screen.lines).split() == [*words, "last", "next"]
    assert screen.lines[-1] == "next"
    assert max(map(len, screen.lines)) <= columns


def test_partial_words_that_do_not_fit_lose_their_beginning():
    screen = Screen(20)
    Terminal(screen, partial=True, columns=20).show(result("hello", "a long way to go"))
    assert screen.lines == ["hello …ng way to go"]
