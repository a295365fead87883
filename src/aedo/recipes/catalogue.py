"""What there is to choose from, in words: the list of bases and tags, and the explanation of one."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

from aedo.errors import UserError
from aedo.recipes.about import first_sentence
from aedo.recipes.bases import ALIASES, BASES, PARENTS
from aedo.recipes.names import Difference, Resolved, analyse, apply
from aedo.recipes.parse import find_tag, nearest, spelled, split_base
from aedo.recipes.registry import TAGS, Spelled, Tag
from aedo.recipes.trees import changes, differences, leaves, show

STAGES = {
    "tokens": "labels",
    "batches": "order, batches, length of the training",
    "features": "features and front-end",
    "frontend": "other front-ends",
    "augment": "augmentation",
    "encoder": "encoder",
    "decoder": "decoder",
    "streaming": "recognition while someone speaks",
    "losses": "CTC heads and losses",
    "regularize": "regularisation",
    "learning_rate": "learning rate",
    "finetune": "fine-tuning",
    "initialize": "initialisation",
    "update": "update",
    "decay": "weight decay",
    "distributed": "several devices",
    "search": "recognition",
}
"""Files of the tags in the order of the way, and their headings."""


def listing() -> str:
    """All bases and all tags, a line each."""
    lines = ["A name is BASE-TAG-TAG..., for example 24gb-v6-lrlin1e_5_450k-wd1e_3.", "", "Bases"]
    lines += [_line(base, first_sentence(function.__doc__)) for base, function in BASES.items()]
    lines += [
        _line(alias, f"Older spelling of {base} (on 11 GB it needs f32-bs15k-accgrad4).")
        for alias, base in ALIASES.items()
    ]
    for stage, heading in STAGES.items():
        lines += ["", f"Tags: {heading}"]
        for tag in TAGS.values():
            if tag.stage == stage:
                lines.append(_line(", ".join(map(str, tag.patterns)), tag.summary))
    lines += ["", "aedo recipes TAG explains one; aedo diff A B shows what two names differ in."]
    return "\n".join(lines)


def explain(name: str) -> str:
    """A tag (posdrop or posdrop01), a base, or a whole name."""
    base = ALIASES.get(name, name)
    if base in BASES:
        return "\n".join(_about_base(base))
    if name in TAGS and not find_tag(name):
        return "\n".join(_about_tag(TAGS[name]))
    if find_tag(name):
        entry = spelled(name, name)
        return "\n".join([*_about_tag(entry.tag), "", *_sets(entry)])
    if not split_base(name):
        near = nearest(name)
        meant = f"; did you mean {near.name}?" if near else ""
        raise UserError(
            f"{name}: neither a tag nor a base nor a name that starts with one{meant} (aedo recipes lists all)"
        )
    return "\n".join(_about_name(name))


def _about_base(base: str) -> Iterator[str]:
    yield f"{base} (base)"
    yield ""
    yield inspect.cleandoc(BASES[base].__doc__ or "")
    if base in PARENTS:
        parent = PARENTS[base]
        yield ""
        yield f"Differs from {parent} in"
        found = list(differences(BASES[parent]().model_dump(), BASES[base]().model_dump()))
        yield from (f"  {path}: {show(old)} -> {show(new)}" for path, old, new in found)
        if not found:
            yield "  nothing"


def _about_tag(tag: Tag) -> Iterator[str]:
    yield f"{' or '.join(map(str, tag.patterns))} (tag, {STAGES[tag.stage]})"
    yield from dict.fromkeys(f"  {needs}" for pattern in tag.patterns for needs in pattern.needs)
    yield ""
    yield tag.doc
    if tag.after:
        yield ""
        yield f"Applied behind {', '.join(tag.after)} where the name has them, in whatever order."
    if tag.last:
        yield ""
        yield "Applied behind the other tags of the name, to what they have set."


def _sets(entry: Spelled) -> Iterator[str]:
    """The fields a tag sets, tried on the first base that has them."""
    for base in ("24gb-v6", "24gb-v4", "11gb", "an4"):
        before = BASES[base]()
        try:
            after = apply(entry, before, base)
        except UserError:
            continue
        values = leaves(after)
        yield "Sets"
        yield from (
            f"  {path} = {show(values[path])}"
            for path in sorted(changes(before, after) | after._touched)
            if path in values
        )
        return


def _about_name(name: str) -> Iterator[str]:
    resolved = analyse(name)
    yield f"{name} ({resolved.experiment.digest()})"
    yield ""
    yield _line(resolved.base, first_sentence(BASES[resolved.base].__doc__))
    base, whole = BASES[resolved.base]().model_dump(), resolved.experiment.model_dump()
    found = [
        Difference(path, old, new, resolved.base, resolved.setter(path)) for path, old, new in differences(base, whole)
    ]
    for entry in resolved.tags:
        yield _line(entry.text, entry.tag.summary)
        own = [one for one in found if entry.text in one.right_setter.split(", ")]
        yield from (f"    {one.path}: {show(one.left)} -> {show(one.right)}" for one in own)
        if not own:
            yield f"    {_nothing_left(entry, resolved)}"


def _nothing_left(entry: Spelled, resolved: Resolved) -> str:
    """Why no field is as this tag has left it."""
    base = BASES[resolved.base]()
    later = {resolved.setter(path) for path in changes(base, apply(entry, base, resolved.name))}
    return (
        f"its values are changed by {', '.join(sorted(later))}" if later else f"says what {resolved.base} says already"
    )


def _line(head: str, text: str) -> str:
    """Two columns; a long head has a line of its own."""
    body = textwrap.wrap(text, 84)
    if len(head) > 26:
        return "\n".join([f"  {head}", *(f"  {'':26}  {line}" for line in body)])
    return "\n".join([f"  {head:26}  {body[0]}", *(f"  {'':26}  {line}" for line in body[1:])])
