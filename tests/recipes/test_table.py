"""The table of all tags: their words, who tests them, and that the page is up to date."""

from __future__ import annotations

import ast

import pytest

from aedo.recipes.about import about, first_sentence
from aedo.recipes.registry import TAGS, Tag
from tests.recipes import table, tested


def test_a_docstring_is_taken_apart() -> None:
    says = about(
        """Do this.  It may be
        long.

        Even longer.  Why: a reason: two of
        them.  Source: A & B 2020.
        Reported: 5.0 vs 6.0.  Reported on Switchboard (old): 20.
        """
    )
    assert says.what == "Do this.  It may be long.  Even longer."
    assert (says.why, says.source) == ("a reason: two of them.", "A & B 2020.")
    assert says.reported == "5.0 vs 6.0.  on Switchboard (old): 20."
    assert first_sentence(says.what) == "Do this."


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_every_tag_says_what_it_does_and_why(tag: Tag) -> None:
    assert len(tag.about.what) > 15
    assert len(tag.about.why) > 10, f'{tag.stage}.py: the docstring of {tag.name} needs "Why: ..."'


def test_every_tag_or_a_field_it_sets_is_named_by_a_test_of_its_part() -> None:
    """Beside the tests of the recipes, which know values but not what they do."""
    found, examples = tested.mentions(), table.examples_by_tag()
    untested = []
    for name, tag in TAGS.items():
        tests = [*found.by_tag.get(name, []), *found.by_fields(table.set_fields(tag, examples[name]))]
        if not any(not test.startswith("recipes/") for test in tests):
            untested.append(name)
    assert not untested


def names(code: str) -> tuple[set[str], set[str]]:
    """Tags and fields that a test names."""
    node = ast.parse(code)
    return set(tested._tags(node, alone=False)), set(tested._fields(node))


def test_names_of_experiments_and_of_fields_are_found() -> None:
    assert names('resolve("24gb-v6-posdrop02-f32")')[0] == {"posdrop", "f32"}
    assert names('resolve("f32")')[0] == set()
    assert names('e.with_("encoder.dropout.share", "none")')[1] == {"encoder.dropout.share"}
    assert names('e.with_("dropout.share", "none")')[1] >= {"encoder.dropout.share"}
    assert "ctc.layers" in names("CtcConfig(layers=(1, 2))")[1]
    assert names('{"train": {"optimizer": {"eps": 1e-8}}}')[1] >= {"train.optimizer.eps"}
    assert names("small(average_fraction=0.5)")[1] == {"train.average_fraction"}
    assert names("small(rate=0.5)")[1] == set(), "many fields are called rate"


def test_the_page_is_up_to_date() -> None:
    """Else: python -m tests.recipes.table (or make tags)."""
    assert table.PAGE.read_text(encoding="utf-8") == table.text()
