"""An experiment is its name: `[base-]BASE-TAG-TAG...` resolved to a whole Experiment.

Tags are separated by `-`; the older spelling with `_` is understood too.  The order of the tags does not matter.  What is
refused, with a message that says what to do: an unknown base or tag, a value out of range, a tag that changes nothing,
two tags that set the same field, a tree whose fields do not fit together.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import PrivateAttr, ValidationError, model_validator

from aedo.config import Part
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.recipes import tags as _all_tags  # noqa: F401  (registers every tag)
from aedo.recipes.bases import ALIASES, BASES, PARENTS
from aedo.recipes.notation import NotationError
from aedo.recipes.registry import TAGS, Spelled, Tag, application_order

RESTATED = frozenset({"base-24gb-v6-lrlin1e_5_450k-posdrop01"})
"""Published names, a tag of which says what its base says already.  They resolve; any other such name is refused."""


class Draft(Experiment):
    """An Experiment while its tags are applied: the fields need not fit together yet, and every field set is noted."""

    _touched: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="after")
    def _check(self) -> Draft:
        return self

    @classmethod
    def of(cls, experiment: Experiment) -> Draft:
        return cls.model_validate(_fields(experiment))

    def with_(self, path: str, value: Any) -> Draft:
        changed = super().with_(path, value)
        changed._touched = self._touched if isinstance(value, Part) else self._touched | {path}
        return changed

    def finish(self) -> Experiment:
        return Experiment.model_validate(_fields(self))


def _fields(part: Part) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).model_fields}


@dataclass(frozen=True)
class Resolved:
    """A name, taken apart."""

    name: str
    base: str
    tags: tuple[Spelled, ...]
    experiment: Experiment
    setters: dict[str, str]
    """By dotted field: the tag that set it."""
    restated: tuple[str, ...]
    """Tags that say what the base says already (published names only)."""

    def setter(self, path: str) -> str:
        """Who set a field: a tag, else the base (of the line of bases) that gave it its value."""
        return self.setters.get(path) or base_setter(self.base, path)


def resolve(name: str) -> Experiment:
    """The whole experiment that a name stands for; UserError where it stands for none."""
    return analyse(name).experiment


def analyse(name: str) -> Resolved:
    """The experiment with the origin of its fields."""
    base, spelled = parse(name)
    order = application_order()
    draft, setters, restated = Draft.of(BASES[base]()), dict[str, str](), list[str]()
    for entry in sorted(spelled, key=lambda s: order.index(s.tag.name)):
        before, draft = draft, _apply(entry, draft, name)
        changed = changes(before, draft)
        for path in sorted({*changed, *(draft._touched - before._touched)}):
            if path in setters:
                raise UserError(f"{name}: {setters[path]} and {entry.text} both set {path}; keep one of them")
            setters[path] = entry.text
        if not changed and name in RESTATED:
            restated.append(entry.text)
        elif not changed:
            raise UserError(f"{name}: {_idle(entry, before, draft, base)}")
    try:
        experiment = draft.finish()
    except ValidationError as error:
        raise UserError(f"{name}: {readable(error)}") from None
    return Resolved(name, base, spelled, experiment, setters, tuple(restated))


def _apply(entry: Spelled, draft: Draft, name: str) -> Draft:
    try:
        changed = entry.apply(draft)
    except ValidationError as error:
        raise UserError(f"{name}: {entry.text}: {readable(error)}") from None
    except (KeyError, NotationError) as error:
        raise UserError(f"{name}: {entry.text} does not fit here: {error.args[0]}") from None
    assert isinstance(changed, Draft)
    return changed


def _idle(entry: Spelled, before: Draft, after: Draft, base: str) -> str:
    values = leaves(after)
    said = ", ".join(f"{path} = {values[path]}" for path in sorted(after._touched - before._touched) if path in values)
    return f"{entry.text} changes nothing, {base} says already {said or 'the same'}; leave {entry.text} out"


def readable(error: ValidationError) -> str:
    """The first problem pydantic found, in one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


# --- from the name to base and tags ---


def parse(name: str) -> tuple[str, tuple[Spelled, ...]]:
    """Base and tags of a name, in its order."""
    text = re.sub(r"^base[-_]", "", name)
    base, rest = _split_base(text, name)
    spelled = [entry for piece in rest.split("-") for entry in _split_tags(piece, name)] if rest else []
    for position, entry in enumerate(spelled):
        if entry.tag in [earlier.tag for earlier in spelled[:position]]:
            raise UserError(f"{name}: {entry.tag.name} stands there twice; keep one of them")
    return base, tuple(spelled)


def _split_base(text: str, name: str) -> tuple[str, str]:
    spellings = {**{base: base for base in BASES}, **ALIASES}
    for spelling in sorted(spellings, key=len, reverse=True):
        pattern = spelling.replace("-", "[-_]")
        found = re.fullmatch(rf"{pattern}(?:[-_](.*))?", text)
        if found:
            return spellings[spelling], found[1] or ""
    first = re.split("[-_]", text)[0]
    near = difflib.get_close_matches(text, spellings, 1, 0.6) or difflib.get_close_matches(first, spellings, 1, 0.4)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"{name}: a name starts with a base ({', '.join(BASES)}), {first!r} is none{meant}")


def _split_tags(piece: str, name: str) -> list[Spelled]:
    """The tags in a piece of the name without `-`: one, or several joined by underscores.

    The reading with the fewest tags wins; two such readings are refused.
    """
    atoms = piece.split("_")
    best: list[list[list[str]]] = [[[]]] + [[] for _ in atoms]  # by position: the shortest readings up to there
    for end in range(1, len(atoms) + 1):
        readings = [
            [*reading, segment]
            for start in range(end)
            if _find("_".join(atoms[start:end]))
            for segment in ["_".join(atoms[start:end])]
            for reading in best[start]
        ]
        fewest = min(map(len, readings), default=0)
        best[end] = [reading for reading in readings if len(reading) == fewest]
    if not best[-1]:
        furthest = max(position for position, readings in enumerate(best) if readings)
        raise UserError(f"{name}: {_unknown('_'.join(atoms[furthest:]))}")
    if len(best[-1]) > 1:
        ways = " or ".join("-".join(reading) for reading in best[-1])
        raise UserError(f"{name}: {piece} can be read as {ways}; write - between tags")
    return [_spelled(text, name) for text in best[-1][0]]


def _find(text: str) -> Tag | None:
    for tag in TAGS.values():
        if any(pattern.match(text) is not None for pattern in tag.patterns):
            return tag
    return None


def _spelled(text: str, name: str) -> Spelled:
    tag = _find(text)
    assert tag is not None
    for pattern in tag.patterns:
        found = pattern.match(text)
        if found is not None:
            try:
                return Spelled(text, tag, pattern.values(found))
            except NotationError as error:
                raise UserError(f"{name}: {text}: {error} (aedo recipes {tag.name} explains it)") from None
    raise AssertionError(text)


def _unknown(text: str) -> str:
    """Message for what is no tag: the nearest one, or how its value is written."""
    if not text:
        return "two separators follow each other, or the name ends with one; take one away"
    for tag in TAGS.values():
        for pattern in tag.patterns:
            if pattern.types and re.fullmatch(rf"{re.escape(tag.name)}[\d_ek.]*", text):
                needs = ", ".join(f"{value.upper()} is {kind.meaning}" for value, kind in pattern.types.items())
                return f"{text} is not how {tag.name} is written: {pattern}, where {needs}"
    letters = re.sub(r"[\d_]+.*$", "", text) or text
    keys = {spelling_key: tag for tag in TAGS.values() for spelling_key in (tag.name, *(p.key for p in tag.patterns))}
    near = difflib.get_close_matches(text, keys, 1, 0.75) or difflib.get_close_matches(letters, keys, 1, 0.5)
    meant = f"; did you mean {keys[near[0]].patterns[0]}?" if near else ""
    return f"unknown tag {text!r}{meant} (aedo recipes lists all)"


# --- trees as flat tables ---


def leaves(part: Part) -> dict[str, Any]:
    """Every field of a tree by its dotted path; a part that is not there is a leaf of value None."""
    return dict(_walk(part.model_dump(), ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _walk(child, f"{path}.{key}" if path else key)
    else:
        yield path, value


_MISSING = object()


def changes(before: Part, after: Part) -> set[str]:
    """Paths of the fields in which two trees differ, also those only one of them has."""
    old, new = leaves(before), leaves(after)
    return {path for path in {*old, *new} if old.get(path, _MISSING) != new.get(path, _MISSING)}


def base_setter(base: str, path: str) -> str:
    """The base of the line that gave a field its value: the last one that differs from its parent there."""
    while base in PARENTS:
        here, above = leaves(BASES[base]()), leaves(BASES[PARENTS[base]]())
        if here.get(path, _MISSING) != above.get(path, _MISSING):
            return base
        base = PARENTS[base]
    return base
