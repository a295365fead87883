"""What a tag's docstring says, taken apart: the one place that knows its form.

    <what it sets, in a sentence; more sentences and paragraphs may follow>

    Why: <the reason to try it>.  Source: <the paper or system>.  Reported: <word error rates>.

Each part begins with its word and a colon and ends where the next begins or with its paragraph.  What was reported
under special circumstances names them before the colon: `Reported on Switchboard: 19.0 vs 23.2`.
"""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_HEAD = re.compile(r"(?:(?<=^)|(?<=\s))(Why|Source|Reported(?: [^.:]*)?):\s+")


class About(NamedTuple):
    """Each part as one line; empty where the docstring has none."""

    what: str
    why: str
    source: str
    reported: str


def about(doc: str | None) -> About:
    """The parts of a docstring."""
    found: dict[str, list[str]] = {"What": [], "Why": [], "Source": [], "Reported": []}
    for paragraph in inspect.cleandoc(doc or "").split("\n\n"):
        what, *marked = _HEAD.split(_one_line(paragraph))
        found["What"].append(what.strip())
        for head, text in zip(marked[::2], marked[1::2]):
            word, _, where = head.partition(" ")
            found[word].append(f"{where}: {text.strip()}" if where else text.strip())
    return About(*("  ".join(part for part in parts if part) for parts in found.values()))


def first_sentence(doc: str | None) -> str:
    """Of a docstring.  Sentences end with a point and two spaces, or with their line."""
    paragraph = inspect.cleandoc(doc or "").split("\n\n")[0]
    return _one_line(paragraph).split(".  ")[0].removesuffix(".") + "."


def _one_line(paragraph: str) -> str:
    return paragraph.strip().replace(".\n", ".  ").replace("\n", " ")
