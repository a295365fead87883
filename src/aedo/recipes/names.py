"""An experiment is its name: `[base-]BASE-TAG-TAG...` resolved to a whole Experiment.

The order of the tags does not matter.  Refused, with a message that says what to do: an unknown base or tag, a value
out of range, a tag that changes nothing, two tags that set the same field, a field that nothing uses, fields that do
not fit together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError, model_validator

from aedo.config import Part
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.recipes import tags as _every_tag  # noqa: F401  (the import registers them)
from aedo.recipes.bases import BASES, PARENTS
from aedo.recipes.parse import parse
from aedo.recipes.registry import Spelled, UnfitError, application_order
from aedo.recipes.trees import Tree, changes, differences, leaves, show
from aedo.recipes.unused import unused_fields

RESTATED = frozenset(
    {
        "base-24gb-v6-lrlin1e_5_450k-posdrop01",
        "base-24gb-v3-lr1e_3-aux48ff",
        "base-24gb-v3-lr1e_3-adamw-wd1e_3",
    }
)
"""Published names, a tag of which says what its base says already.  They resolve (written with `-` or with `_`); any
other such name is refused."""

_RESTATED = frozenset(name.replace("_", "-") for name in RESTATED)


class Draft(Experiment):
    """An Experiment while its tags are applied: the fields need not fit together yet, and every field set is noted."""

    _touched: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="after")
    def _check(self) -> Draft:
        return self  # the whole is checked once all tags have spoken

    @classmethod
    def of(cls, experiment: Experiment) -> Draft:
        return cls.model_validate(_children(experiment))

    def with_(self, path: str, value: Any) -> Draft:
        changed = super().with_(path, value)
        changed._touched = self._touched if isinstance(value, Part) else self._touched | {path}
        return changed

    @property
    def touched(self) -> frozenset[str]:
        """Fields set since the draft was made, also to the value they had."""
        return self._touched

    def finish(self) -> Experiment:
        return Experiment.model_validate(_children(self))


def _children(part: Part) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).model_fields}


@dataclass(frozen=True)
class Resolved:
    """A name taken apart, and the origin of every field."""

    name: str
    base: str
    tags: tuple[Spelled, ...]
    experiment: Experiment
    setters: dict[str, str]
    """By dotted field: the tag that set it."""

    def setter(self, path: str) -> str:
        """Who set a field or the fields below it: tags, else the base that gave it its value."""
        tags = [tag for field, tag in self.setters.items() if f"{field}.".startswith(f"{path}.")]
        return ", ".join(dict.fromkeys(tags)) or (_base_setter(self.base, path) if self.base else "the run")


@dataclass(frozen=True)
class Difference:
    """One field, or one part of another kind, in which two experiments differ."""

    path: str
    left: Any
    right: Any
    left_setter: str
    """The tag or base that set it on the left."""
    right_setter: str

    def __str__(self) -> str:
        left, right = f"{show(self.left)} [{self.left_setter}]", f"{show(self.right)} [{self.right_setter}]"
        return f"{self.path}: {left} -> {right}"


def resolve(name: str) -> Experiment:
    """The whole experiment that a name stands for; UserError where it stands for none."""
    return analyse(name).experiment


def diff(left: str, right: str) -> tuple[Difference, ...]:
    """What two names (or run folders) differ in, and which tag or base set each field."""
    one, other = analyse_any(left), analyse_any(right)
    return tuple(
        Difference(path, a, b, one.setter(path), other.setter(path))
        for path, a, b in differences(one.experiment.model_dump(), other.experiment.model_dump())
    )


def analyse_any(name: str) -> Resolved:
    """As `analyse`, for a name or for the path of a run folder, whose recorded tree counts."""
    if not (Path(name) / "experiment.json").is_file():
        return analyse(name)
    from aedo.run import RunFolder

    run = RunFolder.open(Path(name))
    recorded = run.experiment()
    try:
        resolved = analyse(run.name)
    except UserError:  # a name of another version
        return Resolved(run.name, "", (), recorded, {})
    return resolved if resolved.experiment == recorded else Resolved(run.name, "", resolved.tags, recorded, {})


def analyse(name: str) -> Resolved:
    """The experiment of a name with the origin of its fields; UserError as `resolve`."""
    base, spelled = parse(name)
    order = application_order()
    draft, setters, refinable = Draft.of(BASES[base]()), dict[str, str](), frozenset[str]()
    for entry in sorted(spelled, key=lambda entry: order.index(entry.tag.name)):
        before, draft = draft, apply(entry, draft, name)
        changed = changes(before, draft)
        for path in sorted(changed | draft.touched):
            if path in setters and path not in refinable and not _turns(entry, setters[path], spelled):
                raise UserError(f"{name}: {setters[path]} and {entry.text} both set {path}; keep one of them")
            setters[path] = entry.text
        refinable = (refinable - changed - draft.touched) | _born(before, draft)
        if not changed and name.replace("_", "-") not in _RESTATED:
            raise UserError(f"{name}: {_idle(entry, draft, base)}")
    try:
        experiment = draft.finish()
    except ValidationError as error:
        raise UserError(f"{name}: {readable(error)}") from None
    unused = unused_fields(experiment)
    for entry in spelled:
        own = [path for path, tag in setters.items() if tag == entry.text]
        if own and all(path in unused for path in own):
            raise UserError(f"{name}: nothing uses {own[0]}, {unused[own[0]]}; leave {entry.text} out")
    return Resolved(name, base, spelled, experiment, setters)


def _turns(entry: Spelled, setter: str, spelled: tuple[Spelled, ...]) -> bool:
    """Whether a tag may turn what `setter` has set into something else."""
    return entry.tag.last and not any(other.text == setter and other.tag.last for other in spelled)


def _born(before: Draft, after: Draft) -> frozenset[str]:
    """Fields that came with a part of another kind: a later tag may still set them."""
    return frozenset(path for path in leaves(after).keys() - leaves(before).keys() if not path.endswith(".kind"))


def apply(entry: Spelled, experiment: Experiment, name: str) -> Draft:
    """One tag on a draft, which then notes the fields this tag has set."""
    try:
        changed = entry.apply(Draft.of(experiment))
    except ValidationError as error:
        raise UserError(f"{name}: {entry.text}: {readable(error)}") from None
    except (KeyError, UnfitError) as error:
        raise UserError(f"{name}: {entry.text} does not fit here: {error.args[0]}") from None
    assert isinstance(changed, Draft)
    return changed


def _idle(entry: Spelled, draft: Draft, base: str) -> str:
    values = leaves(draft)
    said = ", ".join(f"{path} = {show(values[path])}" for path in sorted(draft.touched) if path in values)
    return f"{entry.text} changes nothing, {base} has {said or 'it'} already; leave {entry.text} out"


def readable(error: ValidationError) -> str:
    """The first problem pydantic found, in one line."""
    first = error.errors()[0]
    place, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


@cache
def _base_tree(base: str) -> Tree:
    return BASES[base]().model_dump()


def _base_setter(base: str, path: str) -> str:
    """The last base of the line that differs from its parent at or below `path`, or above it."""
    while base in PARENTS:
        differing = [field for field, _, _ in differences(_base_tree(base), _base_tree(PARENTS[base]))]
        if any(f"{field}.".startswith(f"{path}.") or f"{path}.".startswith(f"{field}.") for field in differing):
            return base
        base = PARENTS[base]
    return base
