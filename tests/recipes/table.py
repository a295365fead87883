"""Write the table of all tags, docs/tags.md: `python -m tests.recipes.table` (`make tags` writes the golden files too).

Everything in it is found, nothing is written by hand: spellings, values and words come from the tags, the fields they
set from the examples of tests/recipes/tags, and who tests them from a search through the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aedo.recipes.catalogue import STAGES
from aedo.recipes.names import Draft, apply, resolve
from aedo.recipes.parse import find_tag, spelled
from aedo.recipes.registry import TAGS, Spelled, Tag
from aedo.recipes.trees import differences, show
from tests.recipes.tags import all_spelled
from tests.recipes.tested import Mentions, mentions

PAGE = Path(__file__).parents[2] / "docs" / "tags.md"
SHOWN_TESTS = 3

HEAD = """# All tags

Made by `python -m tests.recipes.table`; what a tag is and how to add one: [adding_a_tag.md](adding_a_tag.md).  Word
error rates are those the reference reported, LibriSpeech dev-other without a language model unless said otherwise;
repeated trainings differ by up to 0.15.  *Sets* shows a spelling of the tag, a base, and the fields of the base that
change with it.  *Tests* (below tests/) are those that name the tag itself, beside the table of what each tag sets, and
those that name a field it sets.
"""


def text() -> str:
    """The whole page."""
    examples, found = examples_by_tag(), mentions()
    lines = [HEAD]
    for stage, heading in STAGES.items():
        tags = [tag for tag in TAGS.values() if tag.stage == stage]
        if tags:
            lines.append(f"\n## {heading[0].upper()}{heading[1:]}\n")
            lines += [part for tag in tags for part in entry(tag, examples[tag.name], found)]
    return "\n".join(lines)


def entry(tag: Tag, examples: list[tuple[str, str]], found: Mentions) -> Iterator[str]:
    """One tag: its spellings, its words, an example, its tests."""
    says = tag.about
    yield f"### {', '.join(f'`{pattern}`' for pattern in tag.patterns)}\n"
    yield f"{says.what}\n"
    needs = dict.fromkeys(need for pattern in tag.patterns for need in pattern.needs)
    yield from (f"* {need}" for need in needs)
    for word, words in (("Why", says.why), ("Source", says.source), ("Reported", says.reported)):
        if words:
            yield f"* {word}: {words}"
    if tag.after:
        yield f"* Applied behind {', '.join(f'`{name}`' for name in tag.after)}"
    for text, base in examples:
        yield f"* Sets (`{text}` on `{base}`): {'; '.join(effects(text, base))}"
    own, fields = found.by_tag.get(tag.name, []), found.by_fields(set_fields(tag, examples))
    yield f"* Tests: {_few(own)}; of its fields: {_few([test for test in fields if test not in own])}\n"


def _few(tests: list[str]) -> str:
    more = len(tests) - SHOWN_TESTS
    shown = ", ".join(f"`{test}`" for test in tests[:SHOWN_TESTS])
    return f"{shown} and {more} more" if more > 0 else shown or "none"


def examples_by_tag() -> dict[str, list[tuple[str, str]]]:
    """By name of the tag: the spellings in the tables of the tests, each with its base."""
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in TAGS}
    for text, (base, _) in all_spelled().items():
        tag = find_tag(text)
        assert tag is not None, text
        found[tag.name].append((text, base))
    return found


def applied(text: str, base: str) -> tuple[dict[str, Any], Draft]:
    """The base's tree, and the draft with the tag on it."""
    before = resolve(base)
    entry: Spelled = spelled(text, text)
    return before.model_dump(), apply(entry, before, base)


def effects(text: str, base: str) -> Iterator[str]:
    """Each field that the tag changes there: old -> new."""
    before, after = applied(text, base)
    for path, old, new in differences(before, after.model_dump()):
        yield f"`{path}`: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    whole = show(value)
    if len(whole) <= 140 or not isinstance(value, dict):
        return whole
    return str(value.get("kind", "on"))


def set_fields(tag: Tag, examples: list[tuple[str, str]]) -> set[str]:
    """Paths of the fields that the examples set; of a part that is new, the part itself."""
    found: set[str] = set()
    for text, base in examples:
        before, after = applied(text, base)
        found |= {path for path, _, _ in differences(before, after.model_dump())}
    return found


def main() -> None:
    PAGE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
