"""From the characters of a name to its base and its tags.

`[base-]BASE-TAG-TAG...`; tags are separated by `-`, in older spellings by `_`, which values contain as well: the
reading with the fewest tags wins, and where two have the fewest the name is refused.
"""

from __future__ import annotations

import difflib
import re

from aedo.errors import UserError
from aedo.recipes.bases import ALIASES, BASES
from aedo.recipes.notation import NotationError
from aedo.recipes.registry import TAGS, Spelled, Tag


def parse(name: str) -> tuple[str, tuple[Spelled, ...]]:
    """Base and tags, in the order of the name; UserError where there is no such base or tag."""
    found = split_base(name)
    if found is None:
        raise UserError(f"{name}: {_no_base(name)}")
    base, rest = found
    pieces = [] if rest is None else rest.split("-")
    spelled = [entry for piece in pieces for entry in _split_tags(piece, base, name)]
    for position, entry in enumerate(spelled):
        for earlier in spelled[:position]:
            if entry.tag is earlier.tag:
                raise UserError(f"{name}: {earlier.text} and {entry.text} are the same tag; keep one of them")
    return base, tuple(spelled)


def split_base(name: str) -> tuple[str, str | None] | None:
    """The base that a name starts with and what follows; None where it starts with none."""
    spellings = {**{base: base for base in BASES}, **ALIASES}
    for spelling in sorted(spellings, key=len, reverse=True):
        found = re.fullmatch(rf"(?:base[-_])?{spelling.replace('-', '[-_]')}(?:[-_](.*))?", name)
        if found:
            return spellings[spelling], found[1]
    return None


def _no_base(name: str) -> str:
    text = re.sub(r"^base[-_]", "", name)
    first, spellings = re.split("[-_]", text)[0], [*BASES, *ALIASES]
    near = difflib.get_close_matches(text, spellings, 1, 0.6) or difflib.get_close_matches(first, spellings, 1, 0.4)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"a name starts with a base ({', '.join(BASES)}), {first!r} is none{meant}"


def _split_tags(piece: str, base: str, name: str) -> list[Spelled]:
    """The tags in a piece of the name without `-`: one, or several joined by underscores."""
    atoms = piece.split("_")
    shortest: list[list[list[str]]] = [[[]]]  # by position: all readings up to there with the fewest tags
    for end in range(1, len(atoms) + 1):
        segments = {start: "_".join(atoms[start:end]) for start in range(end)}
        readings = [
            [*reading, segment]
            for start, segment in segments.items()
            if find_tag(segment)
            for reading in shortest[start]
        ]
        fewest = min(map(len, readings), default=0)
        shortest.append([reading for reading in readings if len(reading) == fewest])
    if not shortest[-1]:
        read = max(position for position, readings in enumerate(shortest) if readings)
        raise UserError(f"{name}: {_unknown('_'.join(atoms[read:]), base)}")
    if len(shortest[-1]) > 1:
        ways = " or ".join("-".join(reading) for reading in shortest[-1])
        raise UserError(f"{name}: {piece} can be read as {ways}; write - between tags")
    return [spelled(text, name) for text in shortest[-1][0]]


def find_tag(text: str) -> Tag | None:
    """The tag that is spelled like this, whatever its values."""
    for tag in TAGS.values():
        if any(pattern.match(text) is not None for pattern in tag.patterns):
            return tag
    return None


def spelled(text: str, name: str) -> Spelled:
    """A tag with its values; UserError where `text` is no tag or a value is malformed or out of range."""
    tag = find_tag(text)
    for pattern in tag.patterns if tag else ():
        found = pattern.match(text)
        if tag is not None and found is not None:
            try:
                return Spelled(text, tag, pattern.values(found))
            except NotationError as error:
                raise UserError(f"{name}: {text}: {error} (aedo recipes {tag.name} explains it)") from None
    raise UserError(f"{name}: {_unknown(text, '')}")


def _unknown(text: str, base: str) -> str:
    """Message for what is no tag: how its value is written, or the nearest tag."""
    if not text:
        return "two separators follow each other, or the name ends with one; take one away"
    if re.fullmatch(r"v\d+", text):
        return f"there is no base {base}-{text}; the bases are {', '.join(BASES)}"
    for tag in TAGS.values():
        for pattern in tag.patterns:
            if pattern.types and re.fullmatch(rf"{re.escape(tag.name)}[\d_ek.,+-]*", text):
                return f"{text} is not how {tag.name} is written: {pattern}, where {'; '.join(pattern.needs)}"
    near = nearest(text)
    meant = f"; did you mean {near.patterns[0]}?" if near else ""
    return f"unknown tag {text!r}{meant} (aedo recipes lists all)"


def nearest(text: str) -> Tag | None:
    """The tag whose letters are most like those of `text`."""
    letters = re.sub(r"\d[\d_ek]*$", "", text) or text
    keys = {key: tag for tag in TAGS.values() for key in (tag.name, *(pattern.key for pattern in tag.patterns))}
    near = difflib.get_close_matches(text, keys, 1, 0.8) or difflib.get_close_matches(letters, keys, 1, 0.6)
    return keys[near[0]] if near else None
