"""Which tests name a tag or a field: found by reading the tests, not by hand.

A test names a tag where a string in it, in the decorators above it, or in a constant of its file that it uses, is a
name of an experiment with this tag, or (in tests/recipes) the tag alone.  It names a field where a string is the
field's path, where a part's configuration is called with the field by keyword, where nested dictionaries lead to it, or
where a name is used that no other field has.
What a test names only through the helpers of its file counts where nothing names the field or tag itself.
"""

from __future__ import annotations

import ast
import re
import types
import typing
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from aedo.config import Part
from aedo.errors import UserError
from aedo.experiment import Experiment
from aedo.recipes.parse import find_tag, parse

TESTS = Path(__file__).parents[1]


class Mentions(NamedTuple):
    by_tag: dict[str, list[str]]
    """By name of the tag: tests, as file::function."""
    by_field: dict[str, list[str]]
    """By path of the field, or of a part, in the tree."""

    def by_fields(self, paths: set[str]) -> list[str]:
        return sorted({test for path in paths for test in self.by_field.get(path, [])})


@cache
def mentions() -> Mentions:
    """Of all tests, except for the tables of examples."""
    found: dict[str, dict[str, dict[bool, set[str]]]] = {"tag": {}, "field": {}}
    for path in sorted(TESTS.rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for function in _tests(module):
            name = f"{path.relative_to(TESTS)}::{function.name}"
            for node in [function, *_used(module, function)]:
                itself = node is function or not isinstance(node, ast.FunctionDef)
                for tag in _tags(node, alone="recipes" in path.parts):
                    found["tag"].setdefault(tag, {True: set(), False: set()})[itself].add(name)
                for field in _fields(node):
                    found["field"].setdefault(field, {True: set(), False: set()})[itself].add(name)
    tags, fields = ({key: sorted(by[True] or by[False]) for key, by in found[kind].items()} for kind in found)
    return Mentions(tags, fields)


def _tests(module: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def _used(module: ast.Module, function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The file's constants and helpers that a test uses, fixtures among them, to any depth."""
    bound: dict[str, ast.AST] = {}
    for node in module.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {target.id: node for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("test_"):
            bound[node.name] = node
    waiting: list[ast.AST] = [function]
    seen: set[str] = set()
    while waiting:
        for node in ast.walk(waiting.pop()):
            name = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
            if name in bound and name not in seen:
                seen.add(name)
                waiting.append(bound[name])
                yield bound[name]


def _strings(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def _tags(node: ast.AST, alone: bool) -> Iterator[str]:
    for text in _strings(node):
        if alone and (tag := find_tag(text)):
            yield tag.name
        elif re.fullmatch(r"[\w-]+", text):
            yield from _tags_of_name(text)


@cache
def _tags_of_name(text: str) -> tuple[str, ...]:
    try:
        return tuple(entry.tag.name for entry in parse(text)[1])
    except UserError:
        return ()


def _fields(node: ast.AST) -> Iterator[str]:
    by_name, by_class = _paths_by_name(), _paths_of_parts()
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield from by_name.get(child.value, ())
        elif isinstance(child, ast.keyword):
            yield from by_name.get(child.arg or "", ())
        elif isinstance(child, ast.Attribute):
            yield from by_name.get(child.attr, ())
        elif isinstance(child, ast.Call):
            name = child.func.attr if isinstance(child.func, ast.Attribute) else getattr(child.func, "id", "")
            for path in by_class.get(name, ()):
                yield path
                yield from (f"{path}.{keyword.arg}" for keyword in child.keywords if keyword.arg)
            if name == "model_validate" and isinstance(child.func, ast.Attribute):
                above = by_class.get(getattr(child.func.value, "id", ""), ())
                found = [key for tree in child.args if isinstance(tree, ast.Dict) for key in _keys(tree, "")]
                yield from (f"{path}.{key}" for path in above for key in found)
            if name == "micro_experiment":
                yield from (f"train.{keyword.arg}" for keyword in child.keywords if keyword.arg)
        elif isinstance(child, ast.Dict):
            yield from (path for key in _keys(child, "") for path in by_name.get(key, ()))


def _keys(node: ast.Dict, above: str) -> Iterator[str]:
    for key, value in zip(node.keys, node.values):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            path = f"{above}.{key.value}" if above else key.value
            yield path
            if isinstance(value, ast.Dict):
                yield from _keys(value, path)


@cache
def _paths_by_name() -> dict[str, list[str]]:
    """By what names it without doubt: its path, its last two names, its last one where no other field has the same."""
    fields: dict[str, str] = {path: owner.__name__ for path, owner in _owners(Experiment, "")}
    owners: dict[str, set[str]] = defaultdict(set)
    for path, owner in fields.items():
        owners[path.split(".")[-1]].add(owner)
    found: dict[str, list[str]] = defaultdict(list)
    for path in fields:
        *above, last = path.split(".")
        for name in {path, ".".join([*above[-1:], last])} if above else set[str]():
            found[name].append(path)
        if above and len(owners[last]) == 1 and len(last) > 4:
            found[last].append(path)
    return found


def _owners(part: type[Part], above: str) -> Iterator[tuple[str, type[Part]]]:
    for name, field in part.model_fields.items():
        path = f"{above}.{name}" if above else name
        yield path, part
        for child in _parts_in(field.annotation):
            yield from _owners(child, path)


@cache
def _paths_of_parts() -> dict[str, list[str]]:
    """By name of a configuration class: where in the tree it stands."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, part in _walk(Experiment, ""):
        if part is not None:
            found[part.__name__].append(path)
    return found


def _walk(part: type[Part], above: str) -> Iterator[tuple[str, type[Part] | None]]:
    for name, field in part.model_fields.items():
        path = f"{above}.{name}" if above else name
        yield path, None
        for child in _parts_in(field.annotation):
            yield path, child
            yield from _walk(child, path)


def _parts_in(annotation: Any) -> Iterator[type[Part]]:
    """Configuration classes that a field may hold, one level deep."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, Part):
            yield annotation
        return
    if typing.get_origin(annotation) is tuple:
        return
    for argument in typing.get_args(annotation):
        yield from _parts_in(argument)
